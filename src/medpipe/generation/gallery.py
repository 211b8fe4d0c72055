"""Pictures of generated images."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from medpipe import atomic
from medpipe.generation.memorised import Nearest

_GAP = 2  # pixels between images
Images = npt.NDArray[np.uint8]


def grid(images: Images, columns: int) -> Images:
    """(n, h, w, 3) -> one image, row by row, on white."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    whole = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + _GAP), place % columns * (width + _GAP)
        whole[top : top + height, left : left + width] = image
    return whole


def save(path: Path, images: Images, columns: int) -> None:
    """The grid as a PNG."""
    with atomic.file(path) as temporary:
        Image.fromarray(grid(images, columns)).save(temporary)


def pairs(generated: Images, training: Images, near: Nearest, most: int) -> Images:
    """The `most` generated images that lie nearest to a training image, each before that one."""
    closest = np.argsort(near.distance, kind="stable")[:most]
    return np.stack([image for i in closest for image in (generated[i], training[near.row[i]])])
