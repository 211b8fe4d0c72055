"""The arithmetic of a study's table, on made-up predictions."""

import numpy as np
import pandas as pd
import pytest

from medpipe.evaluation.metrics import classification_metrics
from medpipe.evaluation.predictions import classified
from medpipe.params import Study, load
from medpipe.studies.page import markdown
from medpipe.studies.results import Result
from medpipe.studies.table import summarise

CHEST = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
MERGED = ("COVID", "Normal", "other")


@pytest.fixture(scope="module")
def params():
    found = load()
    return found.model_copy(update={"evaluate": found.evaluate.model_copy(update={"resamples": 100})})


def study(*rows, task="chest", baseline=None, controls=None):
    model = {"chest": "chest-convnet", "skin": "skin-b4"}[task]
    return Study(
        task=task, metric="macro_f1", scale="laptop", seeds=(1,), repeats={}, baseline=baseline or rows[0],
        controls=controls or {},
        rows={row: {"model": model, "published": {"macro_f1": 0.5, "accuracy": 0.6}, "set": {}} for row in rows},
    )  # fmt: skip


def result(share, seed=0, classes=CHEST, seconds=10):
    """Of 160 test rows in 80 groups, about `share` are predicted right."""
    fixed, rng = np.random.default_rng(5), np.random.default_rng(seed)
    truth = fixed.permutation(np.arange(160) % 4)
    said = np.where(rng.random(160) < share, truth, (truth + 1) % 4)
    table = pd.DataFrame({"id": [f"{i:03d}" for i in range(160)], "set": "test", "group": np.arange(160) // 2})
    table["label"] = np.array(CHEST)[truth]
    table[[f"p_{name}" for name in CHEST]] = np.eye(4)[said]
    if classes == MERGED:
        both = ["p_Lung_Opacity", "p_Viral Pneumonia"]
        table["p_other"] = table[both].sum(axis=1)
        table = table.drop(columns=both)
        table["label"] = table["label"].replace(["Lung_Opacity", "Viral Pneumonia"], "other")
    own = classification_metrics(classified("x", table, classes))["macro_f1"]
    report = {
        "kind": "classification", "classes": list(classes),
        "sets": {"test": {"rows": 160, "groups": 80, "overall": {"macro_f1": {"value": own}}}},
    }  # fmt: skip
    record = {"started": 0, "ended": seconds * 1000, "tags": {"medpipe.split": "5eed", "medpipe.run": "x"}}
    return Result(f"commit{seed}", table, report, record)


def merged_f1(found):
    table = result_as_merged(found.table)
    return classification_metrics(classified("x", table, MERGED))["macro_f1"]


def result_as_merged(table):
    both = ["p_Lung_Opacity", "p_Viral Pneumonia"]
    table = table.assign(p_other=table[both].sum(axis=1)).drop(columns=both)
    return table.assign(label=table["label"].replace(["Lung_Opacity", "Viral Pneumonia"], "other"))


def summary(params, rows, unfinished=None, **options):
    nothing = {row: {} for row in rows}
    return summarise("s", study(*rows, **options), params, rows, nothing | (unfinished or {}))


def test_rows_are_ranked_and_what_is_not_there_stands_last(params):
    found = summary(
        params,
        {"low": {1: result(0.4)}, "gone": {}, "high": {1: result(0.9, 1)}},
        {"gone": {1: "failed, see a.out"}},
    )
    assert [(row["row"], row["rank"]) for row in found["rows"]] == [("high", 1), ("low", 2), ("gone", None)]
    assert found["rows"][0]["vs_baseline"]["low"] > 0
    assert found["rows"][0]["vs_baseline"]["p"] < 0.01
    assert found["rows"][1]["vs_baseline"] is None
    text = markdown(found)
    assert "**gone**, seed 1: failed, see a.out." in text
    lines = [line for line in text.partition("## Published")[0].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_what_was_published_stands_beside_the_mean_of_ours_of_the_same_set_and_class(params):
    published = {"macro_f1": 0.5, "validation_accuracy": 0.6, "train_accuracy": 0.8}
    published |= {"recall:COVID": 0.7, "f1:COVID": 0.65, "recall:Normal": 0.9, "recall@0.05": 0.97}
    settings = study("a")
    rows = {"a": settings.rows["a"].model_copy(update={"published": published})}
    results = {seed: result(0.6, seed) for seed in (1, 2)}
    for seed, found in results.items():
        found.report["sets"]["val"] = {"overall": {"accuracy": {"value": seed / 10}}}
        points = [{"threshold": at, "recall": {"value": seed * at}} for at in (0.5, 0.05)]
        found.report["sets"]["test"]["operating_points"] = points
        found.report["sets"]["test"]["per_class"] = {
            "COVID": {"recall": {"value": seed / 4}, "f1": {"value": seed / 8}}, "Normal": {"recall": {"value": 0.5}},
        }  # fmt: skip
    table = summarise("s", settings.model_copy(update={"rows": rows}), params, {"a": results}, {"a": {}})
    text = markdown(table)
    assert "| a | validation accuracy | 0.600 | 0.150 |" in text
    assert "| a | recall at 0.05 | 0.970 | 0.075 |" in text
    assert "| row | class | recall, published | ours | F1, published | ours |" in text
    assert "| a | COVID | 0.700 | 0.375 | 0.650 | 0.188 |" in text
    assert "| a | Normal | 0.900 | 0.500 |  |  |" in text
    ours = np.mean([found.report["sets"]["test"]["overall"]["macro_f1"]["value"] for found in results.values()])
    assert f"| a | macro F1 | 0.500 | {ours:.3f} |" in text
    assert "0.800" not in text  # our reports of these runs have no figure of training rows


def test_a_row_against_itself_differs_in_nothing(params):
    found = summary(params, {"a": {1: result(0.6)}, "b": {1: result(0.6)}})
    [against] = [row["vs_baseline"] for row in found["rows"] if row["row"] == "b"]
    untested = {"low": None, "high": None, "why": "it is the same in all resamples"}
    assert against == {"difference": 0, "p": 1, "p_holm": 1} | untested


def test_a_row_is_compared_with_its_control_too(params):
    rows = {"plain": {1: result(0.4)}, "filled": {1: result(0.5, 1)}, "gan": {1: result(0.9, 2)}}
    found = summary(params, rows, controls={"gan": "filled"})
    by_row = {row["row"]: row for row in found["rows"]}
    assert found["tests"] == 3
    assert by_row["filled"]["vs_control"] is None
    against = by_row["gan"]["vs_control"]
    f1 = {name: row["metrics"]["macro_f1"]["value"] for name, row in by_row.items()}
    assert against["difference"] == pytest.approx(f1["gan"] - f1["filled"])
    assert by_row["gan"]["vs_baseline"]["difference"] == pytest.approx(f1["gan"] - f1["plain"])
    assert against["p_holm"] >= against["p"]
    assert "| gan | filled | +" in markdown(found)


def test_seeds_are_averaged_and_their_deviation_is_the_samples(params):
    results = {seed: result(0.6, seed, seconds=10 * seed) for seed in (1, 2, 3)}
    values = [merged_f1(one) for one in results.values()]
    found = summary(params, {"a": results, "b": {1: results[1]}})
    row = next(row for row in found["rows"] if row["row"] == "a")
    assert row["metrics"]["macro_f1"]["value"] == pytest.approx(np.mean(values))
    assert row["metrics"]["macro_f1"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["seconds"] == 20
    assert row["seeds"] == [1, 2, 3]
    other = next(row for row in found["rows"] if row["row"] == "b")
    assert other["metrics"]["macro_f1"]["sd"] is None
    assert other["vs_baseline"]["difference"] == pytest.approx(values[0] - np.mean(values))


def test_the_interval_of_a_mean_is_that_of_the_means_in_each_resample(params):
    one = result(0.6, 1)
    alone, twice = (summary(params, {"a": seeds}) for seeds in ({1: one}, {1: one, 2: one}))
    assert alone["rows"][0]["metrics"]["macro_f1"] | {"sd": 0} == pytest.approx(twice["rows"][0]["metrics"]["macro_f1"])


def test_models_of_more_classes_are_compared_over_the_merged_ones(params):
    four, three = result(0.6), result(0.6, classes=MERGED)
    found = summary(params, {"four": {1: four}, "three": {1: three}})
    rows = {row["row"]: row for row in found["rows"]}
    assert found["classes"] == list(MERGED)
    assert rows["three"]["vs_baseline"]["difference"] == pytest.approx(0)
    assert rows["four"]["metrics"]["macro_f1"]["value"] == pytest.approx(merged_f1(four))
    own = four.report["sets"]["test"]["overall"]["macro_f1"]["value"]
    assert rows["four"]["own_classes"] == {"classes": 4, "value": pytest.approx(own)}
    assert rows["three"]["own_classes"] is None


def test_without_its_baseline_a_table_has_no_differences(params):
    found = summary(params, {"a": {}, "b": {1: result(0.6)}}, {"a": {1: "interrupted"}})
    assert [row["rank"] for row in found["rows"]] == [1, None]
    assert found["rows"][0]["vs_baseline"] is None
    assert "interrupted" in markdown(found)
