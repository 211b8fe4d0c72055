"""DiffAugment (arXiv 2006.10738): real and generated images change alike before the discriminator sees them, so that it
cannot learn a few real ones by heart. Colour, translation and cutout, all differentiable.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

# Uniform numbers that an image takes: brightness, saturation, contrast, two of the translation, two of the cutout.
NUMBERS = 7
_SHIFT, _HOLE = 0.125, 0.5  # shares of the side


def draw(count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(count, NUMBERS) in [0, 1): what `augment` does to each image."""
    return rng.random((count, NUMBERS), np.float32)


def augment(images: Any, numbers: Any) -> Any:
    """(b, h, w, c) in [-1, 1] changed as (b, NUMBERS) in [0, 1) say; what comes from outside the image is 0."""
    side = images.shape[1]
    brightness, saturation, contrast, down, right, top, left = (
        numbers[:, i][:, None, None, None] for i in range(NUMBERS)
    )
    images = images + brightness - 0.5
    grey = ops.mean(images, axis=3, keepdims=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    images = (images - mean) * (contrast + 0.5) + mean
    images = _shifted(images, down, right, round(_SHIFT * side))
    return images * _hole(side, top, left)


def _shifted(images: Any, down: Any, right: Any, most: int) -> Any:
    """Moved by -most to most whole pixels either way."""
    side = images.shape[1]
    places = ops.arange(side, dtype="float32")
    from_ = (
        places[None, :, None] - ops.floor(ops.stack([down[:, 0, :, 0], right[:, 0, :, 0]]) * (2 * most + 1))[..., None]
    )
    rows, columns = ops.unstack(ops.cast(ops.abs(from_ + most - places) < 0.5, images.dtype), axis=0)
    return ops.einsum("bij,bkl,bjlc->bikc", rows, columns, images)


def _hole(side: int, top: Any, left: Any) -> Any:
    """(b, side, side, 1): 0 in a square of half the side, which may lie in part outside; 1 elsewhere."""
    half = round(_HOLE * side) // 2
    places = ops.arange(side, dtype="float32")
    rows = ops.abs(places[None, :, None, None] - ops.floor(top * side)) < half
    columns = ops.abs(places[None, None, :, None] - ops.floor(left * side)) < half
    return 1 - ops.cast(ops.logical_and(rows, columns), "float32")
