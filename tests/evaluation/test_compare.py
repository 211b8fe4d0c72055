"""The comparison of made-up models."""

import numpy as np
import pandas as pd
import pytest
from comparisons import BESIDE, BRAIN, GROUPED, SKIN, classifier_report

from medpipe.errors import InputError
from medpipe.evaluation.compare import compare
from medpipe.evaluation.markdown import markdown
from medpipe.evaluation.metrics import classification_metrics
from medpipe.evaluation.page import html
from medpipe.evaluation.predictions import classified
from medpipe.evaluation.report import segmentation_report
from medpipe.evaluation.segmentation import patients
from medpipe.params import Compare

CHEST = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
MERGE = {"other": ("Lung_Opacity", "Viral Pneumonia")}


def test_ranking_intervals_and_differences(skin):
    tables, comparison = skin
    assert comparison["ranking"] == ["skin-v2m", "skin-b4", "skin-tabular"]
    assert (comparison["best"], comparison["baseline"], comparison["leak"]) == ("skin-v2m", "skin-tabular", {})
    section = comparison["classification"]
    models = {model["model"]: model for model in section["models"]}
    for name, table in tables.items():
        test = table[table["set"] == "test"]
        expected = classification_metrics(classified(name, test, SKIN))
        assert models[name]["metrics"]["macro_f1"]["value"] == pytest.approx(expected["macro_f1"])
        assert models[name]["per_class"]["mel"]["f1"]["value"] == pytest.approx(expected["f1:mel"])
        assert models[name]["rows"] == len(test)
    best, other = (models[name]["metrics"]["macro_f1"]["value"] for name in ("skin-v2m", "skin-tabular"))
    assert models["skin-tabular"]["vs_best"]["difference"] == pytest.approx(other - best)
    assert models["skin-v2m"]["vs_baseline"]["difference"] == pytest.approx(best - other)
    assert models["skin-tabular"]["vs_best"]["high"] < 0
    assert models["skin-tabular"]["vs_best"]["low"] == -models["skin-v2m"]["vs_baseline"]["high"]
    assert models["skin-v2m"]["vs_best"] is None
    assert models["skin-tabular"]["vs_baseline"] is None


def test_validation_chooses_and_test_reports(classifier_table, settings):
    """The model that is better on test rows alone is not the best."""
    weak, strong = (classifier_table(skill, i) for i, skill in enumerate((0.2, 1.4)))
    validates = weak.where(weak["set"] == "test", strong)
    tests = strong.where(strong["set"] == "test", weak)
    tables, reports = (
        {"tests": tests, "validates": validates},
        dict.fromkeys(["tests", "validates"], classifier_report()),
    )
    wanted = Compare(models=tuple(tables), metric="macro_f1", margin=0.02, merge={})
    comparison = compare(tables, reports, GROUPED, wanted, settings, 1)
    assert comparison["best"] == "validates"
    first, second = comparison["classification"]["models"]
    assert first["validation"]["value"] > second["validation"]["value"]
    assert first["metrics"]["macro_f1"]["value"] < second["metrics"]["macro_f1"]["value"]
    assert second["vs_best"]["low"] > 0
    rows = validates[validates["set"] == "val"]
    assert first["validation"]["rows"] == len(rows)
    expected = classification_metrics(classified("m", rows, SKIN))["macro_f1"]
    assert first["validation"]["value"] == pytest.approx(expected)


def test_models_are_ranked_on_the_validation_rows_that_all_have(classifier_table, settings):
    """A cross-validated model's further rows, here ones that it got all wrong, do not count."""
    table = classifier_table(1.4)
    more = classifier_table(-3, rows=100).assign(id=lambda t: "more-" + t["id"], set="val")
    tables = {"plain": classifier_table(0.9, 1), "folds": pd.concat([table, more])}
    reports = dict.fromkeys(tables, classifier_report())
    wanted = Compare(models=tuple(tables), metric="macro_f1", margin=0.02, merge={})
    comparison = compare(tables, reports, GROUPED, wanted, settings, 1)
    assert comparison["ranking"] == ["folds", "plain"]
    assert {model["validation"]["rows"] for model in comparison["classification"]["models"]} == {80}
    apart = table.assign(id=table["id"].where(table["set"] == "test", "x" + table["id"]))
    with pytest.raises(InputError, match="plain, folds: no validation row in common; evaluate them on one split"):
        compare(tables | {"folds": apart}, reports, GROUPED, wanted, settings, 1)


def test_holm_counts_each_pair_once(skin):
    section = skin[1]["classification"]
    models = {model["model"]: model for model in section["models"]}
    assert section["tests"] == 3  # of three pairs, each with the best or the baseline
    least = min(pair["metrics"]["macro_f1"]["p"] for pair in section["pairs"])
    assert models["skin-tabular"]["vs_best"]["p"] == least
    assert models["skin-tabular"]["vs_best"]["p_holm"] == pytest.approx(3 * least)


def test_every_pair_has_its_tests(skin):
    tables, comparison = skin
    section = comparison["classification"]
    a, b = (
        classified("m", table.query("set == 'test'"), SKIN) for table in (tables["skin-b4"], tables["skin-tabular"])
    )
    [pair] = [pair for pair in section["pairs"] if (pair["a"], pair["b"]) == ("skin-b4", "skin-tabular")]
    right = [p.predicted == p.truth for p in (a, b)]
    assert pair["mcnemar"]["a_only"] == (right[0] & ~right[1]).sum()
    assert pair["mcnemar"]["p"] < 0.05
    assert pair["delong"]["mel"]["a"] == pytest.approx(classification_metrics(a)["roc_auc:mel"])
    model = next(model for model in section["models"] if model["model"] == "skin-tabular")
    assert model["vs_best"]["no_worse"] > 0.5 > pair["no_worse"]["a"]
    assert "McNemar" in html(comparison, [])


def test_any_pair_can_be_read_for_each_class(skin):
    section = skin[1]["classification"]
    pairs = {(pair["a"], pair["b"]): pair for pair in section["pairs"]}
    models = {model["model"]: model for model in section["models"]}
    assert len(pairs) == 3
    for name in SKIN:
        for metric in ("precision", "recall", "f1"):
            found = pairs["skin-b4", "skin-tabular"]["per_class"][name][metric]
            a, b = (models[m]["per_class"][name][metric]["value"] for m in ("skin-b4", "skin-tabular"))
            assert found["difference"] == pytest.approx(a - b)
            assert found["low"] <= found["difference"] <= found["high"]


def test_zero_r_and_confusion(skin):
    tables, comparison = skin
    section = comparison["classification"]
    truth = tables["skin-b4"].query("set == 'test'")["label"]
    assert section["zero_r"]["label"] == "nv"
    assert section["zero_r"]["accuracy"] == pytest.approx((truth == "nv").mean())
    assert np.sum(section["confusion"]["skin-b4"], axis=1).tolist() == list(section["support"].values())


def test_four_classes_merged_to_three_equal_the_hand(classifier_table, settings):
    four = classifier_table(0.8, 1, 200, CHEST, (0.2, 0.3, 0.4, 0.1))
    three = four.drop(columns=["p_Lung_Opacity", "p_Viral Pneumonia"]).assign(
        p_other=four["p_Lung_Opacity"] + four["p_Viral Pneumonia"],
        label=four["label"].replace(dict.fromkeys(MERGE["other"], "other")),
    )
    reports = {
        "four": classifier_report(CHEST, {"Normal": 50, "Lung_Opacity": 40, "Viral Pneumonia": 20, "COVID": 30}),
        "three": classifier_report(("COVID", "Normal", "other"), {"Normal": 50, "other": 60, "COVID": 30}),
    }
    wanted = Compare(models=("four", "three"), metric="accuracy", margin=0.02, merge=MERGE)
    section = compare({"four": four, "three": three}, reports, GROUPED, wanted, settings, 1)["classification"]
    test = four[four["set"] == "test"]
    chances = np.stack([test["p_COVID"], test["p_Normal"], test["p_Lung_Opacity"] + test["p_Viral Pneumonia"]], axis=1)
    truth = test["label"].map({"COVID": 0, "Normal": 1, "Lung_Opacity": 2, "Viral Pneumonia": 2})
    for model in section["models"]:
        assert model["metrics"]["accuracy"]["value"] == pytest.approx((chances.argmax(axis=1) == truth).mean())
    assert section["zero_r"]["label"] == "other"  # 60 of 140, though Normal is the most frequent of four
    [pair] = section["pairs"]
    assert pair["metrics"]["macro_f1"]["p"] == 1


def test_models_of_other_classes_are_refused(classifier_table, settings):
    tables = {"four": classifier_table(1, 0, 100, CHEST, (0.25,) * 4), "skin": classifier_table(rows=100)}
    reports = {"four": classifier_report(CHEST), "skin": classifier_report()}
    with pytest.raises(InputError, match=r"skin knows akiec.* but four COVID"):
        compare(
            tables,
            reports,
            GROUPED,
            Compare(models=tuple(tables), metric="accuracy", margin=0.02, merge={}),
            settings,
            1,
        )


def test_other_rows_are_refused(classifier_table, settings):
    a, b = classifier_table(seed=0), classifier_table(seed=1)
    reports = dict.fromkeys("ab", classifier_report())
    wanted = Compare(models=("a", "b"), metric="accuracy", margin=0.02, merge={})
    with pytest.raises(InputError, match="b and a were not evaluated on the same rows: ISIC_0000000"):
        compare({"a": a, "b": b.iloc[1:]}, reports, GROUPED, wanted, settings, 1)
    changed = b.assign(label=["nv", *b["label"].iloc[1:]])
    with pytest.raises(InputError, match="b and a have another label for ISIC_0000000"):
        compare({"a": a, "b": changed}, reports, GROUPED, wanted, settings, 1)


def test_a_segmenter_of_tumour_slices_cannot_be_the_best(brain):
    tables, comparison = brain
    masks = comparison["masks"]
    assert comparison["best"] == "brain-cascade"
    assert comparison["ranking"] == ["brain-cascade", "brain-resunet"]
    cascade, resunet = masks["models"]
    assert (cascade["rank"], cascade["only"]) == (1, None)
    assert (resunet["rank"], resunet["only"]) == (None, "tumour")
    assert resunet["metrics"]["dice"]["value"] > cascade["metrics"]["dice"]["value"]
    assert resunet["validation"]["value"] > cascade["validation"]["value"]
    # The difference is taken on the slices that both have.
    [pair] = masks["pairs"]
    tumour = tables["brain-cascade"].query("label == 'tumour' and set == 'test'")
    assert pair["rows"] == len(tumour)
    a, b = (patients(table.query("set == 'test'"), 0.7)["dice"].mean() for table in (tumour, tables["brain-resunet"]))
    assert pair["metrics"]["dice"]["difference"] == pytest.approx(a - b)
    assert resunet["vs_best"]["difference"] == pytest.approx(b - a)


def test_a_segmenter_of_one_class_is_no_champion_where_nothing_else_is_compared(mask_table, settings):
    table = mask_table(only="tumour", validation=4)
    report = segmentation_report("brain-resunet", table, BRAIN, settings, 1)[1]
    wanted = Compare(models=("brain-resunet",), metric="dice", margin=0.02, merge={})
    for only, best, rank in (("tumour", None, None), (None, "brain-resunet", 1)):
        reports = {"brain-resunet": report | {"only": only, "mask_pixels": [64, 64]}}
        found = {"task": "brain"} | BESIDE | compare({"brain-resunet": table}, reports, GROUPED, wanted, settings, 1)
        assert (found["best"], found["masks"]["models"][0]["rank"]) == (best, rank)
        for text in (html(found, []), markdown(found)):
            assert ("none, for every model knows one class alone" in text) == (best is None)
            assert ("tumour only" in text) == (best is None)


def test_masks_of_another_size_are_not_compared(mask_table, settings):
    tables = {"brain-cascade": mask_table(1, 2, validation=4), "other": mask_table(1, 3, validation=4)}
    common = {"classes": ["healthy", "tumour"], "training": {"healthy": 9}, "kind": "cascade", "only": None}
    common["sets"] = {"test": {"operating_points": []}}
    reports = {name: common | {"mask_pixels": [side, side]} for name, side in zip(tables, (64, 96), strict=True)}
    wanted = Compare(models=tuple(tables), metric="dice", margin=0.02, merge={})
    with pytest.raises(InputError, match=r"other was tested on masks of \[96, 96\] pixels, .* \[64, 64\]"):
        compare(tables, reports, GROUPED, wanted, settings, 1)


def test_classifier_and_cascade_stand_apart_from_masks(brain):
    section = brain[1]["classification"]
    assert section["ranking"] == ["brain-classifier", "brain-cascade"]
    table = brain[0]["brain-cascade"].query("set == 'test'")
    right = (table["label"] == "tumour") == (table["tp"] + table["fp"] > 0)
    assert section["models"][1]["metrics"]["accuracy"]["value"] == pytest.approx(right.mean())


def test_a_metric_that_no_model_has_is_refused(skin, settings):
    tables, _ = skin
    wanted = Compare(models=tuple(tables), metric="dice", margin=0.02, merge={})
    with pytest.raises(InputError, match="none of skin-tabular, skin-b4, skin-v2m has dice"):
        compare(tables, dict.fromkeys(tables, classifier_report()), GROUPED, wanted, settings, 1)
