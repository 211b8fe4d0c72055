"""Grouped bootstrap: each draw is what the resampled rows would score, and the intervals hold what they say."""

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from declared import TASKS, evaluate_settings
from scipy.special import logit
from scipy.stats import t

from medpipe.errors import InputError
from medpipe.evaluation.intervals import Resamples, estimate, holm, no_worse, paired_difference, separate_difference
from medpipe.evaluation.metrics import classification_metrics
from medpipe.evaluation.paired import mcnemar
from medpipe.evaluation.predictions import Predictions, classified
from medpipe.evaluation.validity import FEWEST

SKIN = TASKS["skin"].classes


def test_draws_are_the_metrics_of_the_resampled_rows(classifier_table):
    table = classifier_table(rows=150)
    p = classified("m", table.assign(**{f"p_{c}": table[f"p_{c}"].round(1) + 1e-3 for c in SKIN}).pipe(_sums), SKIN)
    found = estimate(
        p,
        evaluate_settings(8, confidence=0.9),
        seed=3,
    )
    resamples = Resamples(p.groups, 8, seed=3)
    for i, picks in enumerate(resamples.picks):
        rows = np.concatenate([np.flatnonzero(resamples.codes == group) for group in picks])
        again = classification_metrics(
            replace(
                p,
                groups=p.groups[rows],
                truth=p.truth[rows],
                predicted=p.predicted[rows],
                probabilities=p.probabilities[rows],
            )
        )
        assert set(again) == set(found.draws)
        for metric, value in again.items():
            np.testing.assert_allclose(found.draws[metric][i], value, atol=1e-12, err_msg=metric)


def _sums(table):
    columns = [f"p_{c}" for c in SKIN]
    return table.assign(**table[columns].div(table[columns].sum(axis=1), axis=0))


def test_weights_count_the_picks():
    resamples = Resamples(np.array(["b", "a", "b", "c"]), 5, seed=0)
    assert resamples.names.tolist() == ["a", "b", "c"]
    assert resamples.codes.tolist() == [1, 0, 1, 2]
    for picks, weights in zip(resamples.picks, resamples.weights, strict=True):
        assert np.bincount(picks, minlength=3).tolist() == weights.tolist()


def simple(correct, groups):
    """Two classes, alternating truth; `correct` says which rows are right."""
    truth = np.arange(len(correct)) % 2
    predicted = np.where(correct, truth, 1 - truth)
    return Predictions(("a", "b"), np.asarray(groups).astype(str), truth, predicted, np.eye(2)[predicted])


def test_interval_covers_the_truth_as_often_as_it_says():
    """Rows of a group are right or wrong together: 40 groups of 4 rows, right with probability 0.7."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 4)
    settings = evaluate_settings(150, confidence=0.9)
    covered, naive = 0, 0
    for seed in range(100):
        correct = rng.random(40)[groups] < 0.7
        grouped = estimate(simple(correct, groups), settings, seed).interval("accuracy", 0.9)
        by_row = estimate(simple(correct, np.arange(160)), settings, seed).interval("accuracy", 0.9)
        covered += grouped["low"] <= 0.7 <= grouped["high"]
        naive += by_row["low"] <= 0.7 <= by_row["high"]
    assert 0.81 <= covered / 100 <= 0.97
    assert naive / 100 < 0.7  # taking rows for independent would promise too much


def test_groups_that_agree_widen_the_interval(settings):
    groups = np.repeat(np.arange(50), 6)
    correct = np.random.default_rng(0).random(50)[groups] < 0.6
    width = {}
    for name, by in (("group", groups), ("row", np.arange(300))):
        found = estimate(simple(correct, by), settings, 0).interval("accuracy", 0.95)
        width[name] = found["high"] - found["low"]
    # In theory by the root of 6.
    assert 1.9 < width["group"] / width["row"] < 3.1


def test_same_seed_same_interval_whatever_the_order(classifier_table, settings):
    table = classifier_table(rows=400)
    a = estimate(classified("m", table, SKIN), settings, 5)
    b = estimate(classified("m", table.sample(frac=1, random_state=0), SKIN), settings, 5)
    for metric in a.draws:
        np.testing.assert_allclose(a.draws[metric], b.draws[metric], atol=1e-12)
    assert estimate(classified("m", table, SKIN), settings, 6).interval("macro_f1", 0.95) != a.interval(
        "macro_f1", 0.95
    )


def test_one_group_has_no_interval(settings):
    found = estimate(simple(np.array([True, False, True]), ["g"] * 3), settings, 0)
    assert found.interval("accuracy", 0.95) == {
        "value": pytest.approx(2 / 3),
        "low": None,
        "high": None,
        "why": f"1 group: an interval needs {FEWEST['accuracy']}",
    }
    assert paired_difference(found, found, "accuracy", 0.95)["why"] == found.interval("accuracy", 0.95)["why"]
    assert no_worse(found, found, "accuracy", 0.1) is None


def test_a_class_of_too_few_groups_has_no_interval(settings):
    """Of 60 groups one holds class b."""
    correct, groups = np.arange(60) % 3 > 0, np.arange(60)
    p = replace(simple(correct, groups), truth=(groups == 7).astype(np.int64))
    found = estimate(p, settings, 0)
    assert "why" not in found.interval("accuracy", 0.95)
    for metric in ("macro_f1", "f1:b"):
        assert (
            found.interval(metric, 0.95)["why"]
            == f"1 group of b: an interval needs {FEWEST[metric.replace(':b', ':class')]}"
        )
    assert found.scarcest["roc_auc:a"] == ("classes but a", 1)


def test_what_does_not_vary_has_no_interval(settings):
    found = estimate(simple(np.ones(60, bool), np.arange(60)), settings, 0)
    assert found.interval("accuracy", 0.95)["why"] == "it is the same in all resamples"


def test_no_worse_by_a_margin_is_a_shifted_t_test(settings):
    rng = np.random.default_rng(3)
    a, b = (estimate(simple(rng.random(200) < 0.6, np.arange(200)), settings, 0) for _ in range(2))
    found = paired_difference(a, b, "accuracy", 0.95)
    assert no_worse(a, b, "accuracy", 0.5) < 1e-6
    at_the_lower_end = no_worse(a, b, "accuracy", -found["low"])
    assert at_the_lower_end == pytest.approx(0.025)
    assert no_worse(a, b, "accuracy", 0) + no_worse(b, a, "accuracy", 0) == pytest.approx(1)


def test_identical_models_do_not_differ(classifier_table, settings):
    a = estimate(classified("m", classifier_table(rows=1200), SKIN), settings, 1)
    for metric in ("macro_f1", "accuracy", "roc_auc", "f1:mel"):
        found = paired_difference(a, a, metric, 0.95)
        assert found == {"difference": 0, "low": None, "high": None, "p": 1, "why": "it is the same in all resamples"}
        assert no_worse(a, a, metric, 0.05) is None


@pytest.mark.parametrize("groups", [np.arange(4), np.repeat(np.arange(6), 3)])
def test_a_difference_that_does_not_vary_has_the_exact_test_alone(settings, groups):
    """One is always right and the other always wrong: McNemar's exact p over groups, of four 0.125, and no interval."""
    right = np.ones(len(groups), bool)
    a, b = (estimate(simple(correct, groups), settings, 0) for correct in (right, ~right))
    exact = mcnemar(right, ~right, groups)["p"]
    assert exact == 2 * 0.5 ** len(set(groups))
    for pair, difference in (((a, b), 1), ((b, a), -1)):
        found = paired_difference(*pair, "accuracy", 0.95)
        assert (found["difference"], found["low"], found["high"], found["p"]) == (difference, None, None, exact)
        assert no_worse(*pair, "accuracy", 0.1) is None
    assert no_worse(a, a, "accuracy", 0.1) is None
    assert paired_difference(a, a, "accuracy", 0.95)["p"] == mcnemar(right, right, groups)["p"] == 1


def test_a_difference_of_classes_that_does_not_vary_has_no_test(settings):
    """One says always a, the other always b, of 20 groups each: what exchanges within groups give is not enumerated."""
    p = simple(np.ones(40, bool), np.arange(40))
    a, b = (replace(p, predicted=np.full(40, c)) for c in (0, 1))
    found = paired_difference(*(estimate(of, settings, 0) for of in (a, b)), "recall:a", 0.95)
    assert (found["difference"], found["low"], found["p"]) == (1, None, None)


def test_a_difference_of_shares_ends_at_one(settings):
    """Four groups: t reaches further than any difference can lie."""
    a, b = (estimate(simple(np.array(c), np.arange(4)), settings, 0) for c in ([1, 1, 1, 1], [0, 0, 0, 1]))
    assert paired_difference(a, b, "accuracy", 0.95)["high"] == 1


def test_the_scarcest_class_gives_the_degrees_of_freedom(settings):
    """Of 120 groups twelve are of class b; macro F1 has 11 degrees of freedom alone, paired and beside another set."""
    rng, truth = np.random.default_rng(0), (np.arange(120) < 12).astype(np.int64)
    a, b = (
        estimate(
            replace(p := simple(rng.random(120) < 0.7, np.arange(120)), truth=truth, predicted=p.predicted ^ truth),
            settings,
            0,
        )
        for _ in range(2)
    )
    assert a.scarcest["macro_f1"] == ("b", 12)
    apart = a.draws["macro_f1"] - b.draws["macro_f1"]
    reach = t.ppf(0.975, 11) * apart.std() * np.sqrt(12 / 11)
    found = paired_difference(a, b, "macro_f1", 0.95)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(reach)
    found = separate_difference(a, b, "macro_f1", 0.95, together=True)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(reach)
    alone, value = a.interval("macro_f1", 0.95), a.values["macro_f1"]
    reach = t.ppf(0.975, 11) * a.draws["macro_f1"].std() * np.sqrt(12 / 11) / (value * (1 - value))
    assert logit(alone["high"]) - logit(value) == pytest.approx(reach)


def test_below_eight_groups_of_a_class_there_is_neither_interval_nor_test(settings):
    """60, 60 and so many groups: alone, paired, and beside another set."""
    rng = np.random.default_rng(0)
    for held in (2, 3, 5, 7):
        truth = np.repeat([0, 1, 2], [60, 60, held])
        said = [np.where(rng.random(len(truth)) < 0.7, truth, rng.integers(3, size=len(truth))) for _ in range(2)]
        groups = np.arange(len(truth)).astype(str)
        a, b = (estimate(Predictions(("a", "b", "c"), groups, truth, one, np.eye(3)[one]), settings, 0) for one in said)
        for metric, of in itertools.product(("balanced_accuracy", "macro_f1", "recall:c"), (True, False)):
            why = f"{held} groups of c: an interval needs {FEWEST[metric.replace(':c', ':class')]}"
            assert a.interval(metric, 0.95)["why"] == why
            assert paired_difference(a, b, metric, 0.95)["why"] == why
            assert separate_difference(a, b, metric, 0.95, together=of)["why"] == why
            assert no_worse(a, b, metric, 0.1) is None
        assert a.interval("accuracy", 0.95)["low"] is not None


def test_difference_turns_its_sign(classifier_table, settings):
    a, b = (estimate(classified("m", classifier_table(s, i, 400), SKIN), settings, 1) for i, s in enumerate((1, 0.5)))
    there, back = paired_difference(a, b, "macro_f1", 0.95), paired_difference(b, a, "macro_f1", 0.95)
    assert there["difference"] == -back["difference"]
    assert there["low"] == pytest.approx(-back["high"])
    assert there["p"] == back["p"]


def test_pairing_finds_a_difference_that_single_intervals_hide(settings):
    """Both models are right on the same rows, but one on 12 more: a small difference, the same in every group."""
    rng = np.random.default_rng(0)
    worse = rng.random(200) < 0.5
    better = worse.copy()
    better[np.flatnonzero(~worse)[:12]] = True
    a, b = (estimate(simple(c, np.arange(200)), settings, 0) for c in (better, worse))
    assert a.interval("accuracy", 0.95)["low"] < b.interval("accuracy", 0.95)["high"]
    found = paired_difference(a, b, "accuracy", 0.95)
    assert found["difference"] == pytest.approx(0.06)
    assert found["low"] > 0
    assert found["p"] < 0.01


def test_false_alarms_of_the_paired_test_stay_near_its_level():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 2)
    settings = evaluate_settings(150)
    small = 0
    for seed in range(100):
        a, b = (estimate(simple(rng.random(40)[groups] < 0.6, groups), settings, seed) for _ in range(2))
        small += paired_difference(a, b, "accuracy", 0.95)["p"] <= 0.1
    assert 0.03 <= small / 100 <= 0.19


def test_other_groups_are_refused(settings):
    a, b = (estimate(simple(np.array([True, False]), groups), settings, 0) for groups in (["x", "y"], ["x", "z"]))
    with pytest.raises(InputError, match="same groups"):
        paired_difference(a, b, "accuracy", 0.95)


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": None, "e": 0.5}) == pytest.approx(
        {"a": 0.04, "b": 0.09, "c": 0.09, "d": None, "e": 0.5}
    )


def test_a_thousand_resamples_of_a_real_test_set_take_seconds(classifier_table):
    p = classified("m", classifier_table(rows=1500), SKIN)
    start = time.process_time()
    estimate(
        p,
        evaluate_settings(1000),
        0,
    )
    assert time.process_time() - start < 10
