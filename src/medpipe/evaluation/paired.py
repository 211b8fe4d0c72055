"""Paired tests of two classifiers on the same rows, where the rows of a group (a lesion, a patient) are dependent."""

from typing import Any

import numpy as np
from scipy.stats import norm, rankdata


def mcnemar(a: np.ndarray, b: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """{a_only, b_only, p}: the rows that one alone has right, and McNemar's exact two-sided p, clustered.

    `a`, `b` (n,) bool: right or wrong; `groups` (n,). If neither is better, a group's surplus of the one could as well
    be the other's: p is the share of all exchanges of the models within groups whose surplus is at least the one
    observed (Durkalski 2003, doi 10.1002/sim.1438, tests such surpluses by their normal limit). For groups of one row
    it is the binomial test of McNemar's discordant pairs (1947, doi 10.1007/BF02295996).
    """
    _, codes = np.unique(groups, return_inverse=True)
    surplus = np.bincount(codes, a.astype(int) - b.astype(int)).astype(int)  # (g,)
    sizes = np.abs(surplus[surplus != 0])
    chances = np.ones(1)  # of the sums -total ... total
    for size in sizes:
        chances = np.convolve(chances, [0.5, *[0] * (2 * size - 1), 0.5])
    sums = np.arange(len(chances)) - sizes.sum()
    p = chances[np.abs(sums) >= abs(surplus.sum())].sum()
    return {"a_only": int((a & ~b).sum()), "b_only": int((b & ~a).sum()), "p": min(1.0, float(p))}


def delong(positive: np.ndarray, a: np.ndarray, b: np.ndarray, groups: np.ndarray) -> dict[str, float | None]:
    """{a, b, difference, se, p}: the areas under two ROC curves on the same rows, clustered.

    `positive` (n,) bool, scores `a`, `b` (n,), `groups` (n,). Obuchowski 1997 (doi 10.2307/2533958), who adds up the
    components of DeLong 1988 (doi 10.2307/2531595) within groups; for groups of one row it is DeLong's test. None where
    a side has fewer than two groups, se and p too where nothing varies.
    """
    _, codes = np.unique(groups, return_inverse=True)
    size = codes.max() + 1
    sides = [np.bincount(codes[rows], minlength=size) for rows in (positive, ~positive)]  # (g,) rows of each side
    held = [int((side > 0).sum()) for side in sides]
    if min(held) < 2:
        return dict.fromkeys(("a", "b", "difference", "se", "p"))
    components = [_components(positive, scores) for scores in (a, b)]  # (n,) each
    areas = [float(values[positive].mean()) for values in components]
    difference = areas[0] - areas[1]
    apart = components[0] - components[1] - difference
    of_positive, of_negative = (np.bincount(codes, np.where(rows, apart, 0)) for rows in (positive, ~positive))
    m, n = sides[0].sum(), sides[1].sum()
    variance = (
        held[0] / (held[0] - 1) * (of_positive**2).sum() / m**2
        + held[1] / (held[1] - 1) * (of_negative**2).sum() / n**2
        + 2 * size / (size - 1) * (of_positive * of_negative).sum() / (m * n)
    )
    found: dict[str, float | None] = {"a": areas[0], "b": areas[1], "difference": difference}
    if variance <= 1e-18:
        return found | {"se": None, "p": None}
    se = float(np.sqrt(variance))
    return found | {"se": se, "p": float(2 * norm.sf(abs(difference) / se))}


def _components(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(n,) of each row: the share of the other side's rows that it is on the right side of, ties for half."""
    everyone, values = rankdata(scores), np.empty(len(scores))
    m, n = positive.sum(), (~positive).sum()
    values[positive] = (everyone[positive] - rankdata(scores[positive])) / n
    values[~positive] = 1 - (everyone[~positive] - rankdata(scores[~positive])) / m
    return values
