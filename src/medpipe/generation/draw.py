"""Drawing images from a trained generator."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

_BATCH = 64


def noise(generator: keras.Model, count: int, seed: list[int]) -> npt.NDArray[np.float32]:
    """(count, size) of a standard normal, the same by `seed` on every backend."""
    return np.random.default_rng(seed).standard_normal((count, size(generator)), np.float32)


def size(generator: keras.Model) -> int:
    """How many numbers of noise an image is made of."""
    return generator.inputs[0].shape[-1]


def one_hot(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """(n,) class numbers -> (n, classes)."""
    return np.eye(classes, dtype=np.float32)[labels]


def draw(generator: keras.Model, noise: npt.NDArray, classes: npt.NDArray) -> npt.NDArray[np.uint8]:
    """(n, size) and (n, classes) -> (n, h, w, 3) in [0, 255]. Every batch has one size, so that it compiles once."""
    images = np.empty((len(noise), *generator.output_shape[1:]), np.uint8)
    for start in range(0, len(noise), _BATCH):
        parts = [part[start : start + _BATCH] for part in (noise, classes)]
        count = len(parts[0])
        whole = [np.pad(part, ((0, _BATCH - count), (0, 0)), mode="edge") for part in parts]
        images[start : start + count] = pixels(generator.predict_on_batch(whole))[:count]
    return images


def draw_new(generator: keras.Model, classes: npt.NDArray, seed: list[int]) -> npt.NDArray[np.uint8]:
    """(n, classes) -> (n, h, w, 3) in [0, 255], of the noise that `noise` gives; made as it is wanted, for that of a
    diffusion model is of the images' size, and four bytes a number.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((len(classes), *generator.output_shape[1:]), np.uint8)
    for start in range(0, len(classes), _BATCH):
        of = classes[start : start + _BATCH]
        images[start : start + _BATCH] = draw(
            generator, rng.standard_normal((len(of), size(generator)), np.float32), of
        )
    return images


def pixels(images: Any) -> npt.NDArray[np.uint8]:
    """Images in [-1, 1] -> in [0, 255]."""
    return np.rint((ops.convert_to_numpy(images) + 1) * 127.5).clip(0, 255).astype(np.uint8)
