"""The external set beside the internal one, and how the comparison shows it with subgroups and distances."""

import numpy as np
import pandas as pd
import pytest
from comparisons import BESIDE
from declared import TASKS

from medpipe.evaluation.compare import compare
from medpipe.evaluation.markdown import markdown
from medpipe.evaluation.metrics import classification_metrics
from medpipe.evaluation.page import html
from medpipe.evaluation.predictions import classified
from medpipe.evaluation.report import classification_report, segmentation_report
from medpipe.params import Compare

SKIN = TASKS["skin"].classes
COLUMNS = ("sex", "age_band")


@pytest.fixture
def table(classifier_table):
    table = classifier_table(rows=600, sets=("test", "val"))
    external = classifier_table(0.2, 5, rows=400).assign(id=lambda t: "e" + t["id"], set="external", sex=None)
    return pd.concat([table, external[external["label"] != "vasc"].assign(age_band=None)], ignore_index=True)


def test_averages_are_over_the_classes_of_both(table, settings):
    _, report = classification_report("m", table, SKIN, {"nv": 5}, None, settings, 1)
    found, parts = report["shift"], dict(list(table.groupby("set")))
    a, b = (classification_metrics(classified("m", parts[part], SKIN)) for part in ("test", "external"))
    assert found["classes"] == [name for name in SKIN if name != "vasc"]
    f1 = found["metrics"]["macro_f1"]
    assert f1["internal"] == pytest.approx(np.mean([a[f"f1:{name}"] for name in found["classes"]]))
    assert f1["external"] == pytest.approx(b["macro_f1"])
    assert f1["difference"] == pytest.approx(f1["external"] - f1["internal"])
    assert f1["low"] < f1["difference"] < f1["high"] < 0
    assert found["per_class"]["mel"]["recall"]["difference"] == pytest.approx(b["recall:mel"] - a["recall:mel"])
    assert "subgroups" in report["sets"]["external"]
    assert report["sets"]["external"]["subgroups"] == {}  # nothing is known of its rows


def test_a_set_beside_its_like_differs_by_nothing_and_as_widely_as_two_apart(classifier_table, settings):
    one = classifier_table(sets=("test", "test"))
    table = pd.concat([one, one.assign(id="x" + one["id"], set="external")], ignore_index=True)
    _, report = classification_report(
        "m", table, SKIN, {"nv": 5}, None, settings.model_copy(update={"resamples": 2000}), 1
    )
    found, alone = report["shift"]["metrics"]["accuracy"], report["sets"]["test"]["overall"]["accuracy"]
    assert found["difference"] == 0
    width = (found["high"] - found["low"]) / (alone["high"] - alone["low"])
    assert width == pytest.approx(np.sqrt(2), rel=0.1)


def test_masks_and_a_model_without_external_rows(mask_table, settings):
    table = mask_table(patients=60, slices=3)
    _, report = segmentation_report("m", table, ("healthy", "tumour"), settings, 1)
    assert report["shift"] is None
    table.loc[table["group"] > "TCGA_DU_0030", "set"] = "external"
    _, report = segmentation_report("m", table, ("healthy", "tumour"), settings, 1)
    dice = report["shift"]["metrics"]["dice"]
    assert dice["external"] - dice["internal"] == pytest.approx(dice["difference"])
    assert dice["low"] < dice["high"]


def test_the_comparison_shows_them(table, settings):
    reports = {name: classification_report(name, table, SKIN, {"nv": 5}, None, settings, 1)[1] for name in ("a", "b")}
    part = {"value": 0.25, "low": 0.125, "high": 0.5}
    reports["a"]["ood"] = {"level": 0.05, "flagged": {"test": part, "external": part}, "auroc": part}
    reports = {name: {"only": None} | report for name, report in reports.items()}
    split = {"by": "group", "grouping": "", "leak": {}}
    wanted = Compare(models=("a", "b"), metric="macro_f1", margin=0.02, merge={})
    comparison = {"task": "skin"} | BESIDE | compare(dict.fromkeys("ab", table), reports, split, wanted, settings, 1)
    populations = comparison["populations"]
    assert [(f["model"], f["column"]) for f in populations["subgroups"]] == [(m, c) for m in "ab" for c in COLUMNS]
    values = reports["a"]["sets"]["test"]["subgroups"]["sex"]["values"]
    against = [values[sex]["against_rest"]["metrics"]["balanced_accuracy"] for sex in ("female", "male")]
    lowest = min(found["difference"] for found in against)
    assert populations["subgroups"][0]["worst"]["difference"] == lowest < 0
    assert [found["model"] for found in populations["ood"]] == ["a"]
    text, page = markdown(comparison), html(comparison, [])
    for words in ("### Subgroups", "### External test set", "### Out of distribution", "| a | 0.250 [0.125, 0.500] |"):
        assert words in text
    for words in (">For whom</h2>", "External test set", "Out of distribution", "0.250"):
        assert words in page
    silent = comparison | {"populations": {"subgroups": [], "external": [], "ood": []}}
    assert "## For whom" not in markdown(silent)
    assert ">For whom</h2>" not in html(silent, [])
