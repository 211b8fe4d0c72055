"""Reports: what they hold, that they are JSON, and that their figures are those of the metrics."""

import json

import pandas as pd
import pytest
from declared import TASKS

from medpipe.errors import InputError
from medpipe.evaluation.calibration_plots import plot_decisions
from medpipe.evaluation.metrics import classification_metrics
from medpipe.evaluation.predictions import classified
from medpipe.evaluation.report import cascade_report, classification_report, segmentation_report
from medpipe.evaluation.segmentation import patients
from medpipe.evaluation.wording import threshold
from medpipe.models.decision import NEVER, Rule

SKIN = TASKS["skin"].classes

BRAIN = ("healthy", "tumour")
TRAINING = {"nv": 50, "mel": 10}


def plain(value):
    """As read back from the file; fails on NaN."""
    return json.loads(json.dumps(value, allow_nan=False))


def test_classification(classifier_table, settings):
    table = classifier_table()
    headline, report = map(plain, classification_report("m", table, SKIN, TRAINING, None, settings, 1))
    test = table[table["set"] == "test"]
    expected = classification_metrics(classified("m", test, SKIN))
    assert headline["macro_f1"] == expected["macro_f1"]
    assert headline["macro_f1_low"] < headline["macro_f1"] < headline["macro_f1_high"]
    assert headline["zero_r_accuracy"] == (test["label"] == "nv").mean()
    assert all(isinstance(value, float) for value in headline.values())
    assert set(report["sets"]) == {"test", "val"}
    found = report["sets"]["test"]
    assert (found["rows"], found["groups"]) == (len(test), test["group"].nunique())
    assert found["per_class"]["mel"]["support"] == (test["label"] == "mel").sum()
    assert found["per_class"]["mel"]["roc_auc"]["value"] == expected["roc_auc:mel"]
    assert sum(map(sum, found["confusion"])) == len(test)
    assert report["training"] == TRAINING


def test_absent_class_is_said_and_null(classifier_table, settings):
    table = classifier_table()
    table = table[~((table["label"] == "df") & (table["set"] == "test"))]
    _, report = classification_report("m", table, SKIN, TRAINING, None, settings, 1)
    test = plain(report)["sets"]["test"]
    assert test["absent"] == ["df"]
    assert test["per_class"]["df"]["roc_auc"] == {
        "value": None,
        "low": None,
        "high": None,
        "why": "there is nothing to measure",
    }
    assert test["overall"]["roc_auc"]["value"] is not None


def test_no_test_row_is_refused(classifier_table, settings):
    table = classifier_table(sets=("val", "val"))
    with pytest.raises(InputError, match="m: its predictions have no test row"):
        classification_report("m", table, SKIN, TRAINING, None, settings, 1)


def test_segmentation(mask_table, settings):
    table = mask_table(only="tumour", patients=24)
    headline, report = map(plain, segmentation_report("m", table, BRAIN, settings, 1))
    scores = patients(table, 0.7)
    assert headline["dice"] == pytest.approx(scores["dice"].mean())
    assert headline["dice_median"] == pytest.approx(scores["dice"].median())
    assert headline["dice_low"] < headline["dice"] < headline["dice_high"]
    assert report["sets"]["test"]["patients"]["TCGA_DU_0003"]["dice"] == scores.loc["TCGA_DU_0003", "dice"]
    assert set(report["sets"]["test"]["subgroups"]["site"]["values"]) == {"CS", "DU", "HT"}


def test_cascade_counts_what_it_missed(mask_table, settings):
    table = mask_table()
    headline, report = map(plain, cascade_report("m", table, BRAIN, 0.3, {"healthy": 9}, settings, 1))
    tumour, mask = table["label"] == "tumour", table["tp"] + table["fp"] > 0
    assert headline["missed"] == (tumour & ~mask).sum()
    assert headline["false_alarms"] == (~tumour & mask).sum()
    assert headline["sensitivity"] == pytest.approx((tumour & mask).sum() / tumour.sum())
    assert headline["specificity"] == pytest.approx((~tumour & ~mask).sum() / (~tumour).sum())
    assert headline["dice"] == pytest.approx(patients(table, 0.7)["dice"].mean())
    assert report["sets"]["test"]["detection"]["zero_r"]["label"] == "healthy"


def test_operating_points_are_counted_at_their_thresholds(mask_table, settings):
    table = mask_table(validation=4)
    test = table[table["set"] == "test"]
    tumour, p = test["label"] == "tumour", test["p_tumour"]
    headline, report = map(plain, cascade_report("m", table, BRAIN, 0.7, {"healthy": 9}, settings, 1))
    points = report["sets"]["test"]["detection"]["operating_points"]
    assert [(point["threshold"], point["chosen"]) for point in points] == [(0.7, True), (0.5, False), (0.05, False)]
    for point in points:
        said = p >= point["threshold"]
        expected = {
            "accuracy": (said == tumour).mean(),
            "precision": (said & tumour).sum() / said.sum(),
            "recall": (said & tumour).sum() / tumour.sum(),
            "missed": (tumour & ~said).sum(),
            "false_alarms": (said & ~tumour).sum(),
        }
        assert {metric: point[metric]["value"] for metric in expected} == pytest.approx(expected)
        for metric in (m for m in ("accuracy", "precision", "recall") if expected[m] < 1):
            assert point[metric]["low"] <= point[metric]["value"] <= point[metric]["high"]
    assert points[0]["recall"]["low"] < points[0]["recall"]["high"]
    assert headline["threshold"] == 0.7
    assert headline["recall_at_0.05"] == points[2]["recall"]["value"]
    assert "recall_at_0.7" not in headline


def test_a_classifier_of_two_classes_has_operating_points_and_others_none(mask_table, classifier_table, settings):
    table = mask_table()
    headline, report = classification_report("m", table, BRAIN, {"healthy": 9}, None, settings, 1)
    points = report["sets"]["test"]["operating_points"]
    assert [(point["threshold"], point["chosen"]) for point in points] == [(0.5, True), (0.05, False)]
    assert headline["accuracy_at_0.5"] == headline["accuracy"]
    assert headline["false_alarms_at_0.05"] >= headline["false_alarms_at_0.5"]
    _, report = classification_report("m", classifier_table(), SKIN, TRAINING, None, settings, 1)
    assert "operating_points" not in report["sets"]["test"]


def test_a_class_that_is_never_said_has_the_operating_point_never(mask_table, settings, tmp_path):
    rule = Rule("tumour", threshold=NEVER, refer=0.6, least=(0.3, 0.3))
    _, report = map(
        plain, classification_report("m", mask_table(validation=4), BRAIN, {"healthy": 9}, rule, settings, 1)
    )
    test = report["sets"]["test"]
    point = test["operating_points"][0]
    assert (point["chosen"], point["tempered"], point["recall"]["value"]) == (True, None, 0)
    assert point["missed"]["value"] == test["per_class"]["tumour"]["support"]
    assert threshold(point) == "never (its own)"
    assert [point["chosen"] for point in test["operating_points"]] == [True, False, False]
    plot_decisions(tmp_path / "decisions.png", "m", test["decisions"])


def test_training_and_validation_rows_are_measured_without_subgroups(classifier_table, settings):
    table = classifier_table()
    trained = classifier_table(3, rows=100).assign(id=lambda t: "t" + t["id"], set="train")
    _, report = classification_report("m", pd.concat([table, trained]), SKIN, TRAINING, None, settings, 1)
    found = report["sets"]["train"]
    expected = classification_metrics(classified("m", trained, SKIN))
    assert found["overall"]["accuracy"]["value"] == expected["accuracy"]
    assert found["per_class"]["mel"]["recall"]["value"] == expected["recall:mel"]
    assert [part for part, found in report["sets"].items() if "subgroups" in found] == ["test"]
    assert set(report["sets"]["test"]["subgroups"]) == {"sex", "age_band"}
