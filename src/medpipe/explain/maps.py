"""What every heat map goes through: scaled to [0, 1], brought to an image's size, laid over the image.

NumPy and Pillow alone, so that a service has it without Keras.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Maps = npt.NDArray[np.float32]

# Every sixteenth of viridis (CC0, bids.github.io/colormap), between which is interpolated: perceptually uniform, and
# told apart with any kind of colour blindness.
VIRIDIS = np.array(
    [
        (68, 1, 84), (72, 24, 106), (71, 45, 123), (66, 64, 134), (59, 82, 139), (51, 99, 141), (44, 114, 142), (38,
        129, 142), (33, 144, 140), (31, 159, 136), (40, 174, 128), (62, 188, 116), (93, 201, 99), (130, 211, 76),
        (171, 220, 50), (213, 226, 26), (253, 231, 37),
    ],
    np.float64,
)  # fmt: skip
OPACITY = 0.5


def scale(maps: npt.NDArray) -> Maps:
    """(n, h, w) each divided by its largest value, so that they lie in [0, 1]; what is below 0 is 0. A map without a
    value above 0 stays empty."""
    positive = np.maximum(maps, 0)
    largest = positive.max(axis=(1, 2), keepdims=True)
    return np.divide(positive, largest, out=np.zeros_like(positive), where=largest > 0).astype(np.float32)


def enlarge(maps: npt.NDArray, size: tuple[int, int]) -> Maps:
    """(n, h, w) brought to `size`, (height, width), bilinearly."""
    if maps.shape[1:] == size:
        return maps.astype(np.float32)
    resized = [Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR) for one in maps.astype(np.float32)]
    return np.stack([np.asarray(one) for one in resized])


def colour(heat: npt.NDArray) -> npt.NDArray[np.uint8]:
    """(...) in [0, 1] -> (..., 3) RGB of viridis: 0 is dark violet, 1 yellow."""
    places = np.linspace(0, 1, len(VIRIDIS))
    return np.stack([np.interp(heat, places, channel) for channel in VIRIDIS.T], -1).round().astype(np.uint8)


def overlay(image: npt.NDArray[np.uint8], heat: npt.NDArray) -> npt.NDArray[np.uint8]:
    """(h, w, 3) RGB: the image, (h, w, 3), in grey under the colours of its map, (h, w) in [0, 1]."""
    grey = image.astype(np.float64).mean(axis=2, keepdims=True)
    return ((1 - OPACITY) * grey + OPACITY * colour(heat)).round().astype(np.uint8)
