"""What a segmenter's output, and the truth beside it, say of each pixel.

An output is (b, h, w, 1), the probability that something is marked, or (b, h, w, 1 + k), those of background and of k
classes. Truth is (b, h, w, 1) in {0, ..., k}, 0 for background.
"""

import numpy as np
import numpy.typing as npt


def said(p: npt.NDArray) -> npt.NDArray[np.uint8]:
    """(b, h, w) in {0, ..., k}: marked from 0.5 on, or the most probable class."""
    return (p[..., 0] >= 0.5).astype(np.uint8) if p.shape[-1] == 1 else p.argmax(axis=-1).astype(np.uint8)


def hard(p: npt.NDArray) -> npt.NDArray[np.uint8]:
    """An output of the same shape, in {0, 1}, of which `said` says the same."""
    masks = said(p)
    return masks[..., None] if p.shape[-1] == 1 else np.eye(p.shape[-1], dtype=np.uint8)[masks]
