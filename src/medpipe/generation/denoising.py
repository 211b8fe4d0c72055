"""EDM's equations (arXiv 2206.00364): the preconditioning, the levels of noise and the weights of its table 1, the
solver of its algorithm 1. A level is the noise's deviation, beside images in [-1, 1].
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

DATA = 0.5  # deviation of the images that the network is scaled for
LOWEST, HIGHEST, BEND = 0.002, 80.0, 7.0  # of the levels that the solver goes through
_MEAN, _DEVIATION = -1.2, 1.2  # of the logarithms of the levels that training draws


def draw_levels(count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(count,): the levels of noise that a training step learns at, log-normal."""
    return np.exp(_MEAN + _DEVIATION * rng.standard_normal(count, np.float32))


def denoised(network: Callable[[list[Any]], Any], images: Any, level: Any, of: Any) -> Any:
    """Of images (b, h, w, 3) with noise of levels (b,) and their classes what the network takes for the images."""
    whole = ops.reshape(level, (-1, 1, 1, 1))
    total = ops.sqrt(whole**2 + DATA**2)
    found = network([images / total, ops.log(level) / 4, of])
    return (DATA / total) ** 2 * images + whole * DATA / total * found


def loss(network: Callable[[list[Any]], Any], images: Any, of: Any, noise: Any, level: Any) -> Any:
    """The squared error of the images found behind `noise`, (b, h, w, 3) of a standard normal, times their levels (b,);
    weighted so that at each level it begins at about 1.
    """
    whole = ops.reshape(level, (-1, 1, 1, 1))
    error = denoised(network, images + whole * noise, level, of) - images
    return ops.mean((whole**2 + DATA**2) / (whole * DATA) ** 2 * ops.square(error))


def levels(steps: int) -> npt.NDArray[np.float64]:
    """(steps + 1,): from the highest down to the lowest, and 0."""
    ends = np.linspace(HIGHEST ** (1 / BEND), LOWEST ** (1 / BEND), steps) ** BEND
    return np.append(ends, 0)


def solve(denoised: Callable[[Any, Any], Any], images: Any, levels: Any) -> Any:
    """Images with noise of the first of the levels, and nothing else, brought down to the last, which is 0, by Heun's
    method. `denoised` says of images and a level, a scalar, what lies behind the noise; to 0 leads a step of Euler's.

    The loop's body is one look at the network: in turn at where a step begins and at where it would lead.
    """
    levels = ops.convert_to_tensor(levels, images.dtype)

    def look(turn: Any, held: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        at, start, slope = held
        level, length = levels[(turn + 1) // 2], levels[turn // 2 + 1] - levels[turn // 2]
        found, begins = (at - denoised(at, level)) / level, turn % 2 == 0
        start, slope = ops.where(begins, at, start), ops.where(begins, found, (slope + found) / 2)
        return start + length * slope, start, slope

    return ops.fori_loop(0, 2 * (levels.shape[0] - 1) - 1, look, (images, images, images))[0]
