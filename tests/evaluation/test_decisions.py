"""Decisions: thresholds that reach what was asked, curves against their formulas, sets that cover."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from medpipe.errors import InputError
from medpipe.evaluation.decisions import (
    at_cost,
    at_sensitivity,
    choose,
    conformal,
    decision_curve,
    decisions,
    refer_below,
    risk_coverage,
    thresholds,
)
from medpipe.evaluation.intervals import estimate
from medpipe.evaluation.predictions import Predictions
from medpipe.evaluation.validity import FEWEST
from medpipe.models.decision import NEVER, Rule, decide, name_sets
from medpipe.models.temperature import softmax
from medpipe.params import Decide

CLASSES = ("a", "b", "c")


def made(rows=600, seed=0, skill=1.5):
    random = np.random.default_rng(seed)
    truth = random.choice(3, rows, p=[0.2, 0.5, 0.3])
    p = softmax(random.normal(size=(rows, 3)) + skill * np.eye(3)[truth])
    groups = (np.arange(rows) // 2).astype(str).astype(object)
    return Predictions(CLASSES, groups, truth, p.argmax(axis=1), p)


def asked(rule):
    return Decide(of="a", rule=rule, error=0.1, coverage=0.9)


@pytest.mark.parametrize("wanted", [0.07, 0.9, 0.95, 1.0])
def test_the_sensitivity_asked_for_is_reached_and_no_higher_threshold_reaches_it(wanted):
    p = made()
    said, truth = p.probabilities[:, 0], p.truth == 0
    threshold = at_sensitivity(said, truth, wanted)
    assert (said[truth] >= threshold).mean() >= wanted
    assert (said[truth] >= threshold + 1e-6).mean() < wanted


@pytest.mark.parametrize("cost", [0.5, 1, 10])
@pytest.mark.parametrize("skill", [0, 1.5])
def test_no_threshold_costs_less(cost, skill):
    p = made(200, skill=skill)
    said, truth = p.probabilities[:, 0], p.truth == 0

    def costs(threshold):
        return cost * (truth & (said < threshold)).sum() + (~truth & (said >= threshold)).sum()

    assert costs(at_cost(said, truth, cost)) == min(costs(t) for t in [*said, NEVER])


def test_where_every_alarm_costs_more_than_it_saves_the_class_is_never_said(settings):
    """The likeliest rows of all are false alarms, and one true row in ten of them is missed for less."""
    said, truth = np.linspace(0, 1, 20), np.arange(20) % 10 == 0
    assert at_cost(said, truth, 2) == NEVER
    assert at_cost(said, truth, 100) < NEVER
    p = Predictions(
        ("n", "y"), np.arange(20).astype(str), truth.astype(int), (said > 0.5).astype(int), np.c_[1 - said, said]
    )
    rule = choose("m", p, "y", Decide(of="y", rule={"cost": 2}, error=0.5, coverage=0.9))
    assert set(decide(p.probabilities, p.classes, rule)) <= {"n", "refer"}
    figures = decisions(p, rule, {}, settings, 0)["figures"]
    found = {name: figures[name]["value"] for name in ("sensitivity", "specificity", "net_benefit")}
    assert found == {"sensitivity": 0, "specificity": 1, "net_benefit": 0}
    assert {figures[name]["why"] for name in ("precision", "treat_all")} == {"there is nothing to measure"}


def test_youden_has_the_largest_sum_of_sensitivity_and_specificity():
    p = made(300)
    said, truth = p.probabilities[:, 0], p.truth == 0
    false, true, _ = roc_curve(truth, said)
    threshold = choose("m", p, "a", asked("youden")).threshold
    assert (said >= threshold)[truth].mean() - (said >= threshold)[~truth].mean() == pytest.approx((true - false).max())


def test_referral_leaves_the_error_asked_for_on_as_many_rows_as_can_be():
    p = made()
    top, wrong = p.probabilities.max(axis=1), p.predicted != p.truth
    threshold = refer_below(p, 0.1)
    assert wrong[top >= threshold].mean() <= 0.1
    below = top[top < threshold]
    assert len(below)
    assert all(wrong[top >= t].mean() > 0.1 for t in below)
    assert refer_below(p, 1.0) <= top.min()
    hopeless = Predictions(CLASSES, p.groups, (p.predicted + 1) % 3, p.predicted, p.probabilities)
    assert refer_below(hopeless, 0.1) > 1


def test_sets_cover_exchangeable_rows_as_often_as_asked_in_every_class():
    """The mean over 400 calibrations lies between 1 - alpha and 1 - alpha + 1 / (n + 1) (Vovk 2005)."""
    random = np.random.default_rng(0)
    chances = random.beta(2, 1, (400, 39 + 200))
    covered = [(row[39:] >= conformal(row[:39], 0.9)).mean() for row in chances]
    assert 0.9 - 0.008 <= np.mean(covered) <= 0.925 + 0.008
    assert conformal(chances[0, :8], 0.9) == 0.0  # of 8 rows none can promise 9 in 10
    assert conformal(chances[0, :9], 0.9) == pytest.approx(chances[0, :9].min())


def test_a_decision_is_to_refer_the_class_or_the_likeliest_other():
    p = np.array([[0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.35, 0.33, 0.32]])
    rule = Rule("a", threshold=0.3, refer=0.45, least=(0.3, 0.5, 0.9))
    assert decide(p, CLASSES, rule) == ["a", "b", "a", "refer"]
    assert name_sets(p, CLASSES, rule) == ["a", "b", "a, b", "a"]


def test_the_decision_curve_of_all_none_and_an_oracle():
    """Treating all: prevalence - (1 - prevalence) * odds; an oracle has the prevalence at every threshold."""
    truth = np.arange(100) % 4 == 0
    for said, expected in ((np.ones(100), None), (np.zeros(100), 0), (truth.astype(float), 0.25)):
        p = Predictions(("n", "y"), truth, truth.astype(int), truth.astype(int), np.stack([1 - said, said], axis=1))
        curve = decision_curve(p, 1)
        odds = np.array(curve["threshold"]) / (1 - np.array(curve["threshold"]))
        np.testing.assert_allclose(curve["treat_all"], 0.25 - 0.75 * odds)
        np.testing.assert_allclose(curve["model"], curve["treat_all"] if expected is None else expected, atol=1e-12)


def test_risk_rises_to_the_error_of_all(settings):
    p = made(1000)
    risk = risk_coverage(p)
    assert risk["coverage"][-1] == 1
    assert risk["risk"][-1] == pytest.approx((p.predicted != p.truth).mean())
    rule = choose("m", p, "a", asked("youden"))
    wrong = (p.predicted != p.truth)[np.argsort(-p.probabilities.max(axis=1))]
    area = np.mean(np.cumsum(wrong) / np.arange(1, 1001))
    assert decisions(p, rule, {}, settings, 0)["figures"]["aurc"]["value"] == pytest.approx(area)


def test_what_was_chosen_is_kept_on_its_own_rows_and_measured_on_others(settings):
    val, test = made(600, 1), made(600, 2)
    rule = choose("m", val, "a", Decide(of="a", rule={"sensitivity": 0.95}, error=0.1, coverage=0.9))
    own, other = (decisions(p, rule, thresholds(val), settings, 0) for p in (val, test))
    assert own["figures"]["sensitivity"]["value"] >= 0.95
    assert own["figures"]["error"]["value"] <= 0.1
    for found, p in ((own, val), (other, test)):
        decided = np.array(decide(p.probabilities, p.classes, rule), object)
        table = np.array(found["decided"])
        assert table.sum() == 600
        assert found["figures"]["referred"]["value"] == (decided == "refer").mean() == table[:, 3].sum() / 600
        assert table[:, :3].trace() == (decided == np.array(CLASSES, object)[p.truth]).sum()
        for name, by in found["at"].items():
            truth, said = p.truth == CLASSES.index(name), p.probabilities[:, CLASSES.index(name)]
            for point in by.values():
                assert point["sensitivity"]["value"] == (said[truth] >= point["threshold"]).mean()
                assert point["specificity"]["value"] == (said[~truth] < point["threshold"]).mean()
    for name, figure in other["figures"].items():
        if name in ("empty", "set_size"):
            assert figure["why"] == "it was not shown to cover enough at any size"
        else:
            assert figure["low"] < figure["value"] < figure["high"], name
    for by in other["at"].values():
        for point in by.values():
            for figure in (point["sensitivity"], point["specificity"]):
                assert figure["low"] < figure["value"] < figure["high"]
    assert all(own["figures"][f"coverage:{name}"]["value"] >= 0.9 for name in CLASSES)


def test_a_sensitivity_has_the_interval_of_the_recall_that_it_is(settings):
    """Of two classes, at a threshold of one half."""
    p = made(600, 3)
    two = np.c_[1 - p.probabilities[:, 0], p.probabilities[:, 0]]
    p = Predictions(("n", "y"), p.groups, (p.truth == 0).astype(int), two.argmax(axis=1), two)
    rule = Rule("y", threshold=0.5, refer=0.0, least=(0.2, 0.2))
    found, of = decisions(p, rule, {"y": {"0.9": 0.5}}, settings, 0), estimate(p, settings, 0)
    recall = of.interval("recall:y", settings.confidence)
    assert recall["low"] < recall["high"]
    assert found["figures"]["sensitivity"] == found["at"]["y"]["0.9"]["sensitivity"] == pytest.approx(recall)
    assert found["figures"]["error"]["value"] == pytest.approx(1 - of.values["accuracy"])
    few = Predictions(p.classes, p.groups, np.where(np.arange(600) < 10, p.truth, 0), p.predicted, two)
    held = len(set(few.groups[few.truth == 1]))
    why = decisions(few, rule, {}, settings, 0)["figures"]["sensitivity"]["why"]
    assert why == f"{held} group{'s' if held > 1 else ''} of y: an interval needs {FEWEST['sensitivity']}"


def test_a_class_without_validation_rows_cannot_have_a_threshold():
    p = made(50)
    none = Predictions(CLASSES, p.groups, np.ones(50, int), p.predicted, p.probabilities)
    with pytest.raises(InputError, match="m: 0 of 50 validation rows are a, so no threshold can be chosen"):
        choose("m", none, "a", asked("youden"))
