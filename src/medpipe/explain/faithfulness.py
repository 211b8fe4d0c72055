"""How good a heat map is: the pointing game, where a mask says what there is to see; insertion and deletion, of what
the model itself goes by. NumPy and Pillow alone.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from medpipe.explain.rise import Predict, of_class


def pointing_game(maps: npt.NDArray, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(n,) 1 where a map's largest value lies within its mask, else 0; of several largest, the share that does.

    Zhang et al. 2016, arXiv 1608.00507, without their tolerance of 15 pixels. A map that says nothing, and by chance
    any, has the mask's share of the image. `maps` and `masks` are (n, h, w).
    """
    largest = maps == maps.max(axis=(1, 2), keepdims=True)
    return (largest & masks).sum(axis=(1, 2)) / largest.sum(axis=(1, 2))


def blur(images: npt.NDArray, radius: float) -> npt.NDArray[np.uint8]:
    """(n, h, w, 3) the images, of uint8, without detail: a Gaussian of that deviation, in pixels."""
    return np.stack([np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(radius))) for one in images])


def insertion(
    predict: Predict, images: npt.NDArray, blank: npt.NDArray, maps: npt.NDArray, classes: Sequence[int], steps: int
) -> npt.NDArray[np.float64]:
    """(n,) in [0, 1]: the mean probability of the class while the image appears on `blank`, the pixels of the highest
    values first. High for a good map (Petsiuk et al. 2018, arXiv 1806.07421).

    `images` and `blank` (n, h, w, 3) in [0, 255], `maps` (n, h, w); of equal values the upper left pixel comes first.
    What stands for nothing decides: one colour may look to a network like some class, a blurred copy less so.
    """
    found = zip(images, blank, maps, classes, strict=True)
    return np.array([_area(predict, start, end, heat, number, steps) for end, start, heat, number in found])


def deletion(
    predict: Predict, images: npt.NDArray, blank: npt.NDArray, maps: npt.NDArray, classes: Sequence[int], steps: int
) -> npt.NDArray[np.float64]:
    """(n,) in [0, 1]: the same while the image goes over into `blank`, the highest values first. Low for a good map."""
    return insertion(predict, blank, images, maps, classes, steps)


def _area(predict: Predict, start: npt.NDArray, end: npt.NDArray, heat: npt.NDArray, number: int, steps: int) -> float:
    """Under the curve of the probability over the share of pixels, by trapezoids between `steps` + 1 points."""
    rank = np.empty(heat.size, np.int64)
    rank[np.argsort(-heat.ravel(), kind="stable")] = np.arange(heat.size)
    reached = rank.reshape(1, *heat.shape, 1) < np.linspace(0, heat.size, steps + 1).round()[:, None, None, None]
    p = of_class(predict(np.where(reached, end.astype(np.float32), start.astype(np.float32))), number)
    return float(np.trapezoid(p, dx=1 / steps))
