"""Subgroups: figures of their rows, differences from the rest, and a test that keeps its level."""

import numpy as np
import pandas as pd
import pytest
from declared import TASKS

from medpipe.evaluation.metrics import OVERALL, classification_metrics, key
from medpipe.evaluation.predictions import Predictions, classified
from medpipe.evaluation.segmentation import estimate_masks, patients
from medpipe.evaluation.subgroups import ENOUGH, _permutations, heterogeneity, of_classes, of_masks

SKIN = TASKS["skin"].classes


@pytest.fixture
def measured(classifier_table, settings):
    rows = classifier_table(rows=600)
    return rows, of_classes(classified("m", rows, SKIN), rows, settings, 1)


def test_figures_are_those_of_the_subgroup_s_rows(measured):
    rows, found = measured
    assert set(found) == {"sex", "age_band"}
    female = found["sex"]["values"]["female"]
    expected = classification_metrics(classified("m", rows[rows["sex"] == "female"], SKIN))
    assert {m: female["overall"][m]["value"] for m in OVERALL} == pytest.approx({m: expected[m] for m in OVERALL})
    assert female["per_class"]["mel"]["roc_auc"]["value"] == pytest.approx(expected["roc_auc:mel"])
    assert female["per_class"]["mel"]["support"] == ((rows["sex"] == "female") & (rows["label"] == "mel")).sum()
    assert female["overall"]["macro_f1"]["low"] < female["overall"]["macro_f1"]["high"]
    assert not female["small"]
    assert found["sex"]["values"]["unknown"]["small"]
    assert "against_rest" not in found["sex"]["values"]["unknown"]
    assert sum(value["rows"] for value in found["sex"]["values"].values()) == len(rows)


def test_a_difference_is_taken_on_the_classes_of_both(measured, settings):
    rows, _ = measured
    rows = rows[(rows["label"] != "bkl") | (rows["sex"] == "male")]
    found = of_classes(classified("m", rows, SKIN), rows, settings, 1)["sex"]
    female = rows["sex"] == "female"
    a, b = (classification_metrics(classified("m", rows[part], SKIN)) for part in (female, ~female))
    against = found["values"]["female"]["against_rest"]
    assert "bkl" not in against["classes"]
    recalls = [a[key("recall", c)] - b[key("recall", c)] for c in against["classes"]]
    assert against["metrics"]["balanced_accuracy"]["difference"] == pytest.approx(np.mean(recalls))
    f1 = against["metrics"]["f1:nv"]
    assert f1["difference"] == pytest.approx(a["f1:nv"] - b["f1:nv"])
    assert f1["low"] < f1["difference"] < f1["high"]
    assert against["p"] >= found["test"]["p"]
    assert found["test"]["p_holm"] >= found["test"]["p"]


def test_single_cases_of_other_classes_do_not_move_the_mean_recall_of_shared_ones(settings):
    """Both sexes are served alike, nine of ten; of women there is one case more of each of three classes, all wrong."""
    truth = np.concatenate([np.tile(np.repeat([0, 1], 50), 2), [2, 3, 4]])
    said = np.where(np.arange(203) % 10 == 0, 1 - truth % 2, truth)
    said[200:] = 0
    sex = np.array(["male"] * 100 + ["female"] * 103)
    p = Predictions(tuple("abcde"), np.arange(203).astype(str), truth, said, np.eye(5)[said])
    values = of_classes(p, pd.DataFrame({"id": "", "set": "", "group": "", "label": "", "sex": sex}), settings, 1)[
        "sex"
    ]
    female, male = (values["values"][name]["overall"] for name in ("female", "male"))
    assert female["macro_f1"]["value"] < 0.4 < 0.8 < male["macro_f1"]["value"]
    assert female["shared_recall"]["value"] == male["shared_recall"]["value"] == pytest.approx(0.9)
    assert female["shared_recall"]["low"] < 0.9 < female["shared_recall"]["high"]
    assert values["values"]["female"]["against_rest"]["classes"] == ["a", "b"]


def test_a_subgroup_without_a_shared_class_says_why_it_has_no_mean_recall(settings):
    truth, sex = np.repeat([0, 1], 30), np.repeat(["male", "female"], 30)
    p = Predictions(("a", "b"), np.arange(60).astype(str), truth, truth, np.eye(2)[truth])
    found = of_classes(p, pd.DataFrame({"id": "", "set": "", "group": "", "label": "", "sex": sex}), settings, 1)["sex"]
    said = found["values"]["male"]["overall"]["shared_recall"]
    assert (said["value"], said["why"]) == (None, f"there is no class of {ENOUGH} groups or more in it and in the rest")


def test_subgroups_that_are_alike_do_not_differ(classifier_table, settings):
    half = classifier_table()
    other = half.assign(id="x" + half["id"], group="x" + half["group"])
    rows = pd.concat([half.assign(sex="female"), other.assign(sex="male")], ignore_index=True)
    sex = of_classes(classified("m", rows, SKIN), rows, settings, 1)["sex"]
    for value in sex["values"].values():
        for name, found in value["against_rest"]["metrics"].items():
            assert found["difference"] == pytest.approx(0), name
            assert found["low"] < 0 < found["high"], name
    assert sex["test"]["p"] == 1


def test_a_subgroup_served_worse_is_named(classifier_table, settings):
    rows = classifier_table(rows=800)
    worse = (rows["age_band"] == "75+").to_numpy()
    p = classified("m", rows, SKIN)
    said = np.where(worse & (np.arange(len(rows)) % 3 > 0), (p.truth + 1) % len(SKIN), p.predicted)
    age = of_classes(Predictions(SKIN, p.groups, p.truth, said, p.probabilities), rows, settings, 1)["age_band"]
    assert age["test"]["p"] == pytest.approx(1 / (settings.resamples + 1))
    found = {name: value["against_rest"]["p"] for name, value in age["values"].items()}
    assert min(found, key=found.get) == "75+"
    assert age["values"]["75+"]["against_rest"]["metrics"]["balanced_accuracy"]["high"] < 0


def simulate(rng, effect):
    """100 lesions of one to four photographs, three subgroups that differ in their mix of two classes; right or wrong
    together, more often in class 0."""
    subgroup = rng.choice(3, 100, p=[0.5, 0.3, 0.2])
    truth = (rng.random(100) < np.array([0.2, 0.5, 0.6])[subgroup]).astype(int)
    rows = rng.integers(1, 5, 100)
    right = rng.random(100) < np.array([0.9, 0.6])[truth] - effect * (subgroup == 1)
    support = np.eye(2)[truth] * rows[:, None]
    return subgroup, support * right[:, None], support, truth


def test_the_level_is_kept_where_classes_are_mixed_differently_and_photographs_are_of_one_lesion():
    rng = np.random.default_rng(0)

    def rejected(effect, times):
        count = 0
        for i in range(times):
            subgroup, hits, support, truth = simulate(rng, effect)
            p = heterogeneity(subgroup, hits, support, [0, 1, 2], _permutations(truth, 199, i))
            count += min(value for value in p if value is not None) <= 0.05
        return count / times

    assert 0.03 <= rejected(0, 800) <= 0.07  # 0.05, two and a half standard errors
    assert rejected(0.6, 50) > 0.8


def test_masks(mask_table, settings):
    rows = mask_table(patients=60, slices=4)
    rows["site"] = np.array(["DU", "CS"])[np.arange(len(rows)) // 4 % 2]
    scores = patients(rows, settings.tversky_alpha)

    def measure(some):
        return estimate_masks(some, settings, 1)

    site = of_masks(rows, scores, measure, ("dice", "dice_median"), settings, 1)["site"]
    values = {name: scores["dice"][rows.groupby("group")["site"].first() == name].mean() for name in ("DU", "CS")}
    against = site["values"]["DU"]["against_rest"]
    assert site["values"]["DU"]["overall"]["dice"]["value"] == pytest.approx(values["DU"])
    assert against["metrics"]["dice"]["difference"] == pytest.approx(values["DU"] - values["CS"])
    assert against["metrics"]["dice"]["low"] < against["metrics"]["dice"]["high"]
    assert against["p"] == site["test"]["p"] > 0
