"""RISE, a heat map by perturbation (Petsiuk et al. 2018, arXiv 1806.07421): for what gives probabilities, but no
gradients. NumPy and Pillow alone.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from medpipe.explain.maps import Maps

Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray]  # (b, h, w, 3) in [0, 255] -> probabilities (b, classes)
BATCH = 32


def rise(
    predict: Predict,
    images: npt.NDArray,
    classes: Sequence[int],
    masks: int,
    cells: int,
    seed: int,
) -> Maps:
    """(n, h, w) float32 in [0, 1]: what each pixel does for the class's probability, the least to the most.

    `images` (n, h, w, 3) in [0, 255]; `classes` the number of the class to be explained, of each. Half of `cells` x
    `cells` places, drawn `masks` times by `seed`, are covered smoothly by the image's mean colour (the original's zeros
    are the data's mean); a pixel's value is the mean probability over the masks that show it, weighed by how much they
    do. `predict` is called with one image's variants at a time, BATCH at most; where it gives (b, 1), that is the
    second of two classes. Of a model that reads more than an image, give one row at a time, the rest of it held fast in
    `predict`.
    """
    maps = np.empty(images.shape[:3], np.float32)
    for place, (image, number) in enumerate(zip(images.astype(np.float32), classes, strict=True)):
        mean = image.mean(axis=(0, 1))
        total, seen, first = np.zeros(image.shape[:2]), np.full(image.shape[:2], 1e-6), None
        for shown in draw(image.shape[:2], masks, cells, seed):
            p = of_class(predict(mean + shown[..., None] * (image - mean)), number)
            first = p[0] if first is None else first  # which without a difference leaves exactly 0
            total += np.tensordot((p - first).astype(np.float64), shown, 1)
            seen += shown.sum(axis=0)
        value = total / seen
        low, high = value.min(), value.max()
        maps[place] = (value - low) / (high - low) if high > low else 0
    return maps


def draw(size: tuple[int, ...], masks: int, cells: int, seed: int) -> Iterator[Maps]:
    """(b, h, w) in [0, 1], BATCH at a time: grids of 0 and 1 with even chance, a cell larger than the image each way,
    enlarged bilinearly and shifted by a random part of a cell."""
    rng = np.random.default_rng(seed)
    height, width = (-(-side // cells) for side in size)  # of a cell, in pixels
    large = (cells + 1) * width, (cells + 1) * height
    for start in range(0, masks, BATCH):
        found = np.empty((min(BATCH, masks - start), *size), np.float32)
        for mask in found:
            grid = Image.fromarray(rng.integers(0, 2, (cells + 1, cells + 1)).astype(np.float32))
            down, across = rng.integers(height), rng.integers(width)
            enlarged = np.asarray(grid.resize(large, Image.Resampling.BILINEAR))
            mask[:] = enlarged[down : down + size[0], across : across + size[1]]
        yield found


def of_class(p: npt.NDArray, number: int) -> npt.NDArray:
    """(b,) of probabilities (b, k), or (b, 1) of the second of two."""
    if p.shape[1] == 1:
        return p[:, 0] if number else 1 - p[:, 0]
    return p[:, number]
