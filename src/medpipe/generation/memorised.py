"""Whether a generator gives its training images back."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from medpipe.generation.measures import squared_distances

_CHUNK = 512
_SIDE = 32  # pixels, that images are reduced to before they are compared


@dataclass(frozen=True)
class Nearest:
    """Of each image the nearest training image.

    - distance (n,): its Euclidean distance
    - row (n,): its place among the training images
    """

    distance: npt.NDArray[np.float64]
    row: npt.NDArray[np.int64]


def nearest(points: npt.NDArray, training: npt.NDArray) -> Nearest:
    """(n, d) and (m, d) -> of each of the n the nearest of the m."""
    distance, row = [], []
    for start in range(0, len(points), _CHUNK):
        between = squared_distances(points[start : start + _CHUNK], training)
        row.append(between.argmin(axis=1))
        distance.append(np.sqrt(between.min(axis=1)))
    return Nearest(np.concatenate(distance), np.concatenate(row))


def flat(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(n, h, w, 3) -> (n, d) in [0, 1]: pixels, of at most 32 a side."""
    side = min(_SIDE, images.shape[1])
    small = [cv2.resize(np.asarray(image), (side, side), interpolation=cv2.INTER_AREA).ravel() for image in images]
    return np.stack(small).astype(np.float64) / 255


def share(generated: Nearest, held_out: Nearest, quantile: float) -> dict[str, Any]:
    """The share of generated images that lie nearer to a training image than `quantile` of the held-out real ones do,
    with Wilson's 95 % interval. A generator that memorises nothing reaches about `quantile`, one that copies 1.
    """
    near = float(np.quantile(held_out.distance, quantile))
    count = int((generated.distance < near).sum())
    low, high = binomtest(count, len(generated.distance)).proportion_ci(method="wilson")
    return {
        "share": count / len(generated.distance),
        "low": float(low),
        "high": float(high),
        "expected": quantile,
        "generated": len(generated.distance),
        "held_out": len(held_out.distance),
    }
