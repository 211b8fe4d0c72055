"""Betting against uniform p values: capital that grows where they are not uniform.

As long as they are, the capital is a martingale that begins at 1, so that it ever reaches 1 / a with a chance of a at
most, however often it is looked at (Ville 1939; Vovk et al. 2021, arXiv 2102.10439).
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FALSE_ALARMS = 0.01  # the chance of one, ever, of all tests of a model together
AT_ONCE = 0.5  # the share of the capital that is staked before the first case: another camera is one from the start
CHANGES = 1e-4  # the chance of a change before each case by which capital is kept back for later ones
POWERS = (0.3, 0.6)
ODDS = (0.25, 0.5, 2.0, 4.0)


def distance_bets(p: Array) -> Array:
    """(n, 4) at p (n,): that cases lie farther out than before, and that they lie nearer.

    Powers, k p^(k - 1), of p or of 1 - p.
    """
    low = np.clip(p, 1e-12, 1 - 1e-12)
    return np.stack([k * side ** (k - 1) for side in (low, 1 - low) for k in POWERS], axis=-1)


def class_bets(p: Array, share: Array) -> Array:
    """(n, k, 4) at p (n, k): that a class of so far this `share` (n, k) has other odds from now on, ODDS times as high.

    The likelihood ratio of that, as a step function of p.
    """
    odds = np.array(ODDS)
    share = share[..., None]
    later = odds * share / (1 - share + odds * share)
    return np.where(p[..., None] <= share, later / share, (1 - later) / (1 - share))


def capital(bets: Array) -> Array:
    """log10 (n, ...) of the capital after each case, of bets (n, ..., b), each of mean 1 over uniform p.

    Of it AT_ONCE is staked from the start, to each bet alike; of the rest before each case the share CHANGES: the
    mixture over all times at which a change may come, so that a late one is not missed for what was lost before.
    """
    path = np.empty(bets.shape[:-1])
    idle, total = np.full(bets.shape[1:-1], 1 - AT_ONCE), np.zeros(bets.shape[1:-1])
    staked = np.full(bets.shape[1:], AT_ONCE / bets.shape[-1])
    for i, bet in enumerate(bets):
        staked = (staked + CHANGES / bets.shape[-1] * idle[..., None]) * bet
        idle = (1 - CHANGES) * idle
        now = idle + staked.sum(axis=-1)
        idle, staked = idle / now, staked / now[..., None]
        total = total + np.log10(now)
        path[i] = total
    return path


def mean(paths: Array) -> Array:
    """log10 (n,) of the mean capital of several tests (n, k) on the same cases. Of classes it is nearly a martingale
    and no more (docs/drift.md); benchmarks/drift.py measures how often it alarms falsely.
    """
    most = paths.max(axis=-1, keepdims=True)
    return (most + np.log10((10 ** (paths - most)).mean(axis=-1, keepdims=True)))[..., 0]


def largest(paths: Array) -> Array:
    """log10 (n,) of the largest capital of k martingales (n, k), of which each is given 1 / k to begin with. It reaches
    1 / a with a chance of a at most, whatever they have to do with each other.
    """
    return paths.max(axis=-1) - np.log10(paths.shape[-1])


def limit(tests: int) -> float:
    """log10 of the capital at which one of so many tests of a model alarms."""
    return float(np.log10(tests / FALSE_ALARMS))


def alarm(path: Array, limit: float) -> int | None:
    """The first case at which the capital reaches the limit; None where it never has."""
    above = ~(path < limit)  # NaN alarms
    return int(above.argmax()) if above.any() else None
