"""Intervals in closed form, and given only where docs/intervals.md measured that they cover the truth."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from medpipe.evaluation.validity import FEWEST, OVER_CLASSES, bounds

DOCS = Path(__file__).parents[2] / "docs/intervals.md"
ENOUGH = 93.0  # per cent


def table(name):
    """{metric: [(size, coverage of the reported form)]}, without what was not measured."""
    text = DOCS.read_text(encoding="utf-8").split(f"<!-- {name} -->\n")[1].split("<!-- end")[0]
    head, _, *rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.strip().splitlines()]
    sizes = [int(re.search(r"\d+", column)[0]) for column in head[2:]]
    return {
        metric: [(size, float(share)) for size, share in zip(sizes, shares, strict=True) if share != "–"]
        for metric, form, *shares in rows
        if form == "smoothed"
    }


def fewest(measured):
    """The smallest size at which all coverage is enough, and of all larger ones the mean; None where there is none."""
    for size in sorted({size for size, _ in measured}):
        larger = [share for other, share in measured if other > size]
        if min(share for other, share in measured if other == size) >= ENOUGH and np.mean(larger or ENOUGH) >= ENOUGH:
            return size
    return None


def test_an_interval_is_given_where_it_was_measured_to_cover_the_truth():
    by_groups, by_class = table("coverage by groups"), table("coverage by groups of the class")
    found = {metric: fewest(by_class.get(metric, measured)) for metric, measured in by_groups.items()}
    assert set(by_class) == {metric for metric in found if metric in OVER_CLASSES or ":" in metric}
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


def test_few_groups_of_a_class_widen_the_interval():
    draws = np.random.default_rng(0).normal(0.5, 0.05, 1000)
    few, many = (bounds("f1:df", 0.5, draws, 1000, ("df", held), 0.95) for held in (FEWEST["f1:class"], 500))
    assert few[0] < many[0] < many[1] < few[1]


def test_a_metric_of_unknown_coverage_has_no_interval():
    assert isinstance(bounds("missed", 3, np.arange(100.0), 1000, None, 0.95), str)
