"""Whether embeddings move along axes, which distances need not show: a shift of one axis is small among many.

Axes that all ranked cases had made would know them. So the log's first cases fix the axes, and are ranked themselves
nowhere; the cases after them are as exchangeable as ever.
"""

import numpy as np
import numpy.typing as npt

from medpipe.drift import conformal, martingale

Array = npt.NDArray[np.float64]

FIRST, AXES = 200, 16


def along(embedding: npt.NDArray) -> npt.NDArray[np.float32]:
    """(n - FIRST, k) of embeddings (n, d), n above FIRST: those after the first ones, along the first ones' k principal
    axes, at most AXES, each feature divided by its deviation.
    """
    first = embedding[:FIRST].astype(np.float64)
    mean, deviation = first.mean(axis=0), first.std(axis=0)
    deviation[deviation == 0] = 1
    axes = np.linalg.svd((first - mean) / deviation, full_matrices=False)[2][:AXES]
    return ((embedding[FIRST:] - mean) / deviation @ axes.T).astype(np.float32)


def path(embedding: npt.NDArray, seed: np.random.SeedSequence) -> Array:
    """log10 (n,) of the capital that bets that some axis has larger values than before, or smaller ones."""
    idle = np.zeros(min(len(embedding), FIRST))
    if len(embedding) <= FIRST:
        return idle
    p = conformal.of_values(along(embedding), seed)
    return np.concatenate([idle, martingale.largest(martingale.capital(martingale.distance_bets(p)))])
