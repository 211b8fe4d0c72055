"""Temperature scaling: a classifier's probabilities made softer or sharper by one number, its labels untouched.

Guo et al. 2017, arXiv 1706.04599. The number is fitted in evaluation.calibration; what evaluate tables and what is
served are both made here.
"""

import numpy as np
import numpy.typing as npt


def temper(p: npt.NDArray, temperature: float) -> npt.NDArray[np.float64]:
    """The probabilities (n, k), softmax(log(p) / temperature), of what a model says, (n, k), or (n, 1) of the second of
    two classes.

    Above 1 the temperature softens, below it sharpens. In float64, so that no two classes fall together.
    """
    return softmax(scores(p) / temperature)


def untemper(p: npt.NDArray, temperature: float) -> npt.NDArray[np.float32]:
    """The inverse of `temper`: what the model had said (n, k), in its type, of tempered probabilities (n, k)."""
    return temper(p, 1 / temperature).astype(np.float32)


def scores(p: npt.NDArray) -> npt.NDArray[np.float64]:
    """(n, k) logits, up to a constant a row, of probabilities (n, k), or (n, 1) of the second of two classes."""
    least = np.finfo(p.dtype).tiny  # what 0 is taken for
    p = p.astype(np.float64)
    if p.shape[1] == 1:
        p = np.concatenate([np.maximum(1 - p, 2**-25), p], axis=1)  # of a float32 that was rounded to 1: half its step
    return np.log(np.maximum(p, least))


def softmax(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, k) to (n, k)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
