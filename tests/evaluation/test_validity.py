"""Intervals in closed form, and given only where docs/intervals.md measured that they cover the truth."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from medpipe.evaluation.validity import FEWEST, FEWEST_OF_CLASS, OF_CLASSES, OF_EACH_CLASS, bounds

DOCS = Path(__file__).parents[2] / "docs/intervals.md"
ENOUGH = 93.0  # per cent


def table(name):
    """{metric: {kind of test sets: [(size, coverage of the reported form)]}}, without what was not measured."""
    text = DOCS.read_text(encoding="utf-8").split(f"<!-- {name} -->\n")[1].split("<!-- end")[0]
    head, _, *rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.strip().splitlines()]
    columns = [(column.split()[0], int(re.search(r"\d+", column)[0])) for column in head[2:]]
    found = {}
    for metric, form, *shares in rows:
        if form == "smoothed":
            kinds = found.setdefault(metric, {})
            for (kind, size), share in zip(columns, shares, strict=True):
                if share != "–":
                    kinds.setdefault(kind, []).append((size, float(share)))
    return found


def fewest(kinds, least=0):
    """The smallest size, `least` or more, at which the coverage of each kind of test sets is enough, and so is the mean
    of its larger ones; None where there is none.
    """
    for size in sorted({size for measured in kinds.values() for size, _ in measured if size >= least}):
        here = [share for measured in kinds.values() for other, share in measured if other == size]
        larger = [[share for other, share in measured if other > size] for measured in kinds.values()]
        if min(*here, *(np.mean(shares) for shares in larger if shares), 100) >= ENOUGH:
            return size
    return None


def test_the_limits_are_those_of_the_worst_kind_of_test_sets():
    kinds = {"balanced": [(2, 95), (8, 94), (15, 93)], "uneven": [(2, 93), (5, 92.9), (8, 93), (15, 94)]}
    assert fewest(kinds) == 2
    assert fewest(kinds, 3) == fewest(kinds, FEWEST_OF_CLASS) == 8
    assert fewest(kinds | {"even": [(8, 92), (15, 95), (30, 91)]}) is None


def test_an_interval_is_given_where_it_was_measured_to_cover_the_truth():
    by_groups, by_class = table("coverage by groups"), table("coverage by groups of the class")
    found = {metric: fewest(measured) for metric, measured in by_groups.items() if metric not in by_class}
    assert set(by_class) == {metric for metric in by_groups if ":" in metric} | {*OF_CLASSES} - {"macro_recall"}
    found |= {metric: fewest(measured, FEWEST_OF_CLASS) for metric, measured in by_class.items()}
    found |= {"macro_recall": found["balanced_accuracy"], "weighted_recall": found["accuracy"]}  # the same by name
    assert {metric: size for metric, size in found.items() if size} == FEWEST


def test_the_interval_is_symmetric_on_the_logit_scale():
    draws = np.random.default_rng(0).normal(0.8, 0.02, 4000)
    low, high = bounds("accuracy", 0.8, draws, 1000, None, 0.95)
    assert logit(high) - logit(0.8) == pytest.approx(logit(0.8) - logit(low))
    reach = t.ppf(0.975, 999) * draws.std() * np.sqrt(1000 / 999) / (0.8 * 0.2)
    assert (low, high) == pytest.approx(tuple(expit(logit(0.8) + np.array([-reach, reach]))))


def test_the_interval_of_a_distance_is_symmetric_on_the_log_scale():
    draws = np.random.default_rng(0).normal(20, 1, 4000)
    low, high = bounds("hd95", 20, draws, 1000, None, 0.9)
    assert high / 20 == pytest.approx(20 / low)
    assert high == pytest.approx(20 * np.exp(t.ppf(0.95, 999) * draws.std() * np.sqrt(1000 / 999) / 20))


def test_net_benefit_may_be_negative():
    draws = np.random.default_rng(0).normal(-0.1, 0.02, 4000)
    low, high = bounds("net_benefit", -0.1, draws, 1000, None, 0.95)
    assert (low + high) / 2 == pytest.approx(-0.1)
    assert low < high < 0


def test_few_groups_of_a_class_widen_the_interval():
    draws = np.random.default_rng(0).normal(0.5, 0.05, 1000)
    few, many = (bounds("f1:df", 0.5, draws, 1000, ("df", held), 0.95) for held in (FEWEST["f1:class"], 500))
    assert few[0] < many[0] < many[1] < few[1]


@pytest.mark.parametrize("metric", OF_EACH_CLASS)
def test_a_class_s_own_metric_goes_by_its_own_coverage(metric):
    """The ROC-AUC of a class covers too little, though the mean over classes covers enough."""
    draws = np.random.default_rng(0).normal(0.5, 0.05, 1000)
    found = bounds(f"{metric}:df", 0.5, draws, 1000, ("df", 500), 0.95)
    assert isinstance(found, tuple) == (f"{metric}:class" in FEWEST)


def test_a_metric_of_unknown_coverage_has_no_interval():
    assert isinstance(bounds("missed", 3, np.arange(100.0), 1000, None, 0.95), str)
