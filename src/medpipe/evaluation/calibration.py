"""How far a classifier's probabilities are from the frequencies that they announce."""

import numpy as np
from scipy.stats import norm

BINS = 15


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The debiased expected calibration error (r,) in [0, 1] under the row weights (n, r), in 15 bins of equal width.

    `confidence` (n,) in [0, 1], `correct` (n,) in {0, 1}. A bin of few rows misses its confidence by chance alone; what
    is expected of that is taken off (Kumar 2019, arXiv 1909.10155, section 5; the mean of the folded normal in place of
    its simulation).
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    member = (bins == np.arange(BINS)[:, None]).astype(np.float64)  # (bins, n)
    count = member @ weights  # (bins, r)
    whole = np.where(count > 0, count, 1)
    right, said = (member * correct) @ weights / whole, (member * confidence) @ weights / whole
    gap, noise = right - said, np.sqrt(right * (1 - right) / whole)
    scaled = gap / np.where(noise > 0, noise, 1)
    expected = np.where(
        noise > 0, noise * np.sqrt(2 / np.pi) * np.exp(-(scaled**2) / 2) + gap * (1 - 2 * norm.cdf(-scaled)), abs(gap)
    )
    return np.maximum((count * (2 * abs(gap) - expected)).sum(axis=0) / count.sum(axis=0), 0)
