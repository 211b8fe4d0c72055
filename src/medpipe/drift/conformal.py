"""Logged answers as online conformal p values: independent and uniform as long as cases come as validation rows did.

Each case is ranked among the validation rows and all cases before it, ties by chance (Vovk et al. 2021, arXiv
2102.10439). Ranked among the validation rows alone, p values would share the luck of these rows, and 10,000 of
them would tell 500 rows from their own distribution.
"""

from bisect import bisect_left, bisect_right

import numpy as np
import numpy.typing as npt

from medpipe.errors import InputError

Array = npt.NDArray[np.float64]


def of_scores(scores: Array, known: Array, validation: int, seed: np.random.SeedSequence) -> Array:
    """(n,) in (0, 1), low for what lies farther out than those before it. More scores leave the first p values alone.

    `scores` (n,) of cases and `known` (k,) of validation cases, one row each, are out-of-distribution scores
    (models.ood), which say between which two of the `validation` rows a distance lies. Among the cases in one such gap
    the order is drawn: under exchangeability any is as likely as any other. Raises InputError where a score is not one
    of so many rows.
    """
    every = np.concatenate([scores, known])
    steps = every * (validation + 1)
    if not (np.abs(steps - steps.round()) < 1e-3).all() or not ((every > 0) & (every <= 1)).all():
        raise InputError(f"an out-of-distribution score in the log is none of {validation} validation rows")
    steps, at = np.split(steps.round(), [len(scores)])
    order, chances = np.random.default_rng(seed).random((len(scores), 2)).T
    distances = validation + 1 - steps + order  # validation rows are at 1, 2 ...
    return _ranked(distances, chances, sorted((validation + 2 - at).tolist()))


def of_values(values: npt.NDArray[np.float32], seed: np.random.SeedSequence) -> Array:
    """(n, k) in (0, 1), low for what is larger than before: the rank of each of k values among all cases before."""
    chances = np.random.default_rng(seed).random(values.shape)
    return np.stack([_ranked(one, by, []) for one, by in zip(values.T, chances.T, strict=True)], axis=1)


def _ranked(values: npt.NDArray, chances: Array, seen: list[float]) -> Array:
    """(n,): each value's place, from the largest one, among those `seen` and all values before it."""
    p = np.empty(len(values))
    for i, (value, chance) in enumerate(zip(values.tolist(), chances.tolist(), strict=True)):
        low, high = bisect_left(seen, value), bisect_right(seen, value)
        p[i] = (len(seen) - high + chance * (high - low + 1)) / (len(seen) + 1)
        seen.insert(high, value)
    return p


def of_classes(
    classes: npt.NDArray[np.int64], validation: npt.NDArray[np.int64], seed: np.random.SeedSequence
) -> tuple[Array, Array]:
    """p values (n, k) of "it is this class", low where it is, and the share (n, k) of the class before each case.

    `classes` (n,) are predicted ones, `validation` (k,) how often each was predicted of a validation row.
    """
    told = np.eye(len(validation))[classes]
    before = validation + told.cumsum(axis=0) - told
    rows = validation.sum() + np.arange(len(classes))[:, None]
    chance = np.random.default_rng(seed).random(told.shape)
    inside, outside = chance * (before + 1), before + chance * (rows - before + 1)
    return np.where(told > 0, inside, outside) / (rows + 1), (before + 0.5) / (rows + 1)
