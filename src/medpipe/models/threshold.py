"""The probability from which on a cascade's classifier finds a tumour; below it the segmenter's mask does not count."""

import math

import numpy as np

from medpipe.errors import InputError


def apply(p: np.ndarray, mask: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The cascade's verdict: (tumour (b,) bool, mask of the shape and type given).

    `p` is the classifier's probability, (b,) or (b, 1); `mask` the segmenter's mask, (b, h, w) or (b, h, w, 1) in
    {0, ..., k}. Below the threshold the mask is emptied; an empty mask counts as no tumour.
    """
    gate = p.reshape(-1) >= threshold
    kept = mask * gate.reshape(-1, *[1] * (mask.ndim - 1)).astype(mask.dtype)
    return kept.any(axis=tuple(range(1, mask.ndim))), kept


def choose(p: np.ndarray, truth: np.ndarray, sensitivity: float) -> float:
    """The highest threshold at which at least that share of the slices with tumour has p >= threshold.

    `p` (n,) or (n, 1) and `truth` (n,) in {0, 1} are of validation slices. Raises InputError where none has tumour.
    """
    found = np.sort(p.reshape(-1)[truth.reshape(-1).astype(bool)])[::-1]
    if not len(found):
        raise InputError("cascade: no validation slice has tumour, so no threshold can be chosen; change the split")
    # Rounded first: 0.07 * 100 is 7.000000000000001.
    return float(found[math.ceil(round(sensitivity * len(found), 9)) - 1])
