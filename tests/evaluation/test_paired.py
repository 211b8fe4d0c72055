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


# Of 43 patients: albumin, total protein, K-G score, and whether an operation helped (DeLong et al. 1988).
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def test_delong_gives_the_published_figures():
    """Those that SAS/STAT's manual prints of these data (the LOGISTIC procedure, comparing ROC curves)."""
    albumin, protein, score, helped = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    for scores, published in (
        (albumin, {"a": 0.7366, "b": 0.7258, "difference": 0.0108, "se": 0.0953, "p": 0.9102}),
        (protein, {"a": 0.6478, "b": 0.7258, "difference": -0.0780, "se": 0.1046, "p": 0.4561}),
    ):
        found = delong(helped == 1, scores, 10 - score, np.arange(len(helped)))
        assert {name: round(value, 4) for name, value in found.items()} == published


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
