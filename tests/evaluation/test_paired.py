"""McNemar's and DeLong's tests against published figures, closed forms and their definitions."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu, norm

from medpipe.evaluation.paired import delong, mcnemar


def answers(both, first, second, neither):
    a = np.repeat([True, True, False, False], [both, first, second, neither])
    return a, np.repeat([True, False, True, False], [both, first, second, neither])


@pytest.mark.parametrize(
    ("counts", "p"),
    [
        ((1, 1, 7, 12), 0.0703125),  # airway hyper-responsiveness, Bentur 2009, in Fagerland 2013: 0.070
        ((794, 150, 86, 570), binomtest(86, 236).pvalue),  # approval of a prime minister, Agresti 1990, table 10.1
        ((5, 0, 0, 5), 1),
    ],
)
def test_mcnemar_of_single_rows_is_the_exact_binomial_test(counts, p):
    a, b = answers(*counts)
    found = mcnemar(a, b, np.arange(len(a)))
    assert (found["a_only"], found["b_only"]) == counts[1:3]
    assert found["p"] == pytest.approx(p)


def test_mcnemar_counts_all_exchanges_within_groups():
    rng = np.random.default_rng(0)
    a, b, groups = rng.random(40) < 0.8, rng.random(40) < 0.5, rng.integers(9, size=40)
    surplus = np.array([(a[groups == g].sum() - b[groups == g].sum()) for g in np.unique(groups)])
    sums = np.array([np.dot(signs, surplus) for signs in product([-1, 1], repeat=len(surplus))])
    assert mcnemar(a, b, groups)["p"] == pytest.approx((abs(sums) >= abs(surplus.sum())).mean())


def test_copies_of_a_row_in_its_group_are_no_evidence():
    rng = np.random.default_rng(1)
    a, b, groups = rng.random(60) < 0.8, rng.random(60) < 0.6, np.arange(60)
    twice = [np.repeat(values, 2) for values in (a, b, groups)]
    assert mcnemar(*twice)["p"] == pytest.approx(mcnemar(a, b, groups)["p"])
    positive, (s, z) = rng.random(60) < 0.4, rng.normal(size=(2, 60))
    once, doubled = delong(positive, s, z, groups), delong(*(np.repeat(v, 2) for v in (positive, s, z, groups)))
    assert doubled == pytest.approx(once)


def test_delong_is_its_definition():
    """The pairs one by one, and the covariances of their row and column means (DeLong 1988, equations 5 to 7)."""
    rng = np.random.default_rng(2)
    positive = rng.random(80) < 0.35
    scores = (rng.normal(size=(2, 80)) + rng.normal(size=80) + positive).round(1)  # with ties
    rows, columns, areas = [], [], []
    for s in scores:
        wins = np.sign(s[positive][:, None] - s[~positive]) / 2 + 0.5
        rows.append(wins.mean(axis=1))
        columns.append(wins.mean(axis=0))
        areas.append(mannwhitneyu(s[positive], s[~positive]).statistic / wins.size)
    covariance = np.cov(rows) / positive.sum() + np.cov(columns) / (~positive).sum()
    se = np.sqrt(np.array([1, -1]) @ covariance @ [1, -1])
    found = delong(positive, *scores, np.arange(80))
    assert (found["a"], found["b"], found["se"]) == pytest.approx((*areas, se))
    assert found["p"] == pytest.approx(2 * norm.sf(abs(areas[0] - areas[1]) / se))


def test_obuchowski_is_its_definition():
    """Groups with rows of both sides: sums of components, their squares and products (Obuchowski 1997, section 2)."""
    rng = np.random.default_rng(3)
    groups, positive = np.repeat(np.arange(30), 3), rng.random(90) < 0.4
    scores = rng.normal(size=(2, 90)) + rng.normal(size=30)[groups] + positive
    m, n = positive.sum(), (~positive).sum()
    wins = [np.sign(s[positive][:, None] - s[~positive]) / 2 + 0.5 for s in scores]
    apart = wins[0] - wins[1]
    theta = apart.mean()
    x = [(apart.mean(axis=1)[groups[positive] == g] - theta).sum() for g in range(30)]
    y = [(apart.mean(axis=0)[groups[~positive] == g] - theta).sum() for g in range(30)]
    held = [len(set(groups[side])) for side in (positive, ~positive)]
    s10 = held[0] / ((held[0] - 1) * m) * np.dot(x, x)
    s01 = held[1] / ((held[1] - 1) * n) * np.dot(y, y)
    s11 = 30 / 29 * np.dot(x, y)
    found = delong(positive, *scores, groups)
    assert found["difference"] == pytest.approx(theta)
    assert found["se"] ** 2 == pytest.approx(s10 / m + s01 / n + 2 * s11 / (m * n))


def test_delong_needs_two_groups_a_side():
    found = delong(np.array([True, True, False]), np.arange(3.0), np.arange(3.0), np.array(["a", "a", "b"]))
    assert found == dict.fromkeys(("a", "b", "difference", "se", "p"))
