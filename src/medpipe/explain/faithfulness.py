"""How good a heat map is: the pointing game, where a mask says what there is to see; insertion and deletion, of what
the model itself goes by. NumPy alone.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medpipe.explain.rise import Predict, of_class


def pointing_game(maps: npt.NDArray, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(n,) 1 where a map's largest value lies within its mask, else 0; of several largest, the share that does.

    Zhang et al. 2016, arXiv 1608.00507, without their tolerance of 15 pixels. A map that says nothing, and by chance
    any, has the mask's share of the image. `maps` and `masks` are (n, h, w).
    """
    largest = maps == maps.max(axis=(1, 2), keepdims=True)
    return (largest & masks).sum(axis=(1, 2)) / largest.sum(axis=(1, 2))


def insertion(
    predict: Predict, images: npt.NDArray, maps: npt.NDArray, classes: Sequence[int], steps: int
) -> npt.NDArray[np.float64]:
    """(n,) in [0, 1]: the mean probability of the class while the image appears on its mean colour, the pixels of the
    highest values first. High for a good map (Petsiuk et al. 2018, arXiv 1806.07421, who start from a blurred image).

    `images` (n, h, w, 3) in [0, 255] and `maps` (n, h, w); of equal values the upper left pixel comes first.
    """
    return np.array([_area(predict, *one, steps, False) for one in zip(images, maps, classes, strict=True)])


def deletion(
    predict: Predict, images: npt.NDArray, maps: npt.NDArray, classes: Sequence[int], steps: int
) -> npt.NDArray[np.float64]:
    """(n,) in [0, 1]: the same while the image disappears, the highest values first. Low for a good map."""
    return np.array([_area(predict, *one, steps, True) for one in zip(images, maps, classes, strict=True)])


def _area(predict: Predict, image: npt.NDArray, heat: npt.NDArray, number: int, steps: int, deleting: bool) -> float:
    """Under the curve of the probability over the share of pixels, by trapezoids between `steps` + 1 points."""
    pixels = image.astype(np.float32)
    mean = np.broadcast_to(pixels.mean(axis=(0, 1)), pixels.shape)
    rank = np.empty(heat.size, np.int64)
    rank[np.argsort(-heat.ravel(), kind="stable")] = np.arange(heat.size)
    ends = np.linspace(0, heat.size, steps + 1).round()
    reached = rank.reshape(1, *heat.shape, 1) < ends[:, None, None, None]
    p = of_class(predict(np.where(reached, mean, pixels) if deleting else np.where(reached, pixels, mean)), number)
    return float(np.trapezoid(p, dx=1 / steps))
