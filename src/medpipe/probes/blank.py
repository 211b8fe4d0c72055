"""Images without the region that they are taken for, and images without all but their border.

The region is the same in every image, and what it is filled with too: a hole that followed each image's own mask would
tell by its place and size what was cut out, and that a healthy slice has none.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from medpipe.data.arrays import Arrays, channel_statistics, reserve
from medpipe.errors import InputError

Region = npt.NDArray[np.bool_]

_BLOCK = 256  # images in memory at once


def region(arrays: Arrays, train: npt.NDArray[np.int64], box: float | None) -> Region:
    """(h, w): the region of interest: the box in the middle, or where `box` is None what masks of `train` mark.

    Raises InputError where there are no masks then.
    """
    if box is not None:
        return centre(arrays.inputs.shape[1:3], box)
    if arrays.masks is None:
        raise InputError(f"{arrays.name}: no masks to take the region of interest from; give probes.<task>.box a share")
    return marked(arrays.masks, train)


def centre(shape: tuple[int, int], share: float) -> Region:
    """(h, w): the box in the middle of an image that has `share` of its height and of its width, to within a pixel."""
    found = np.zeros(shape, bool)
    height, width = (round(side * share) for side in shape)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    found[top : top + height, left : left + width] = True
    return found


def marked(masks: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> Region:
    """(h, w): the pixels that any mask of these rows marks; `masks` (n, h, w), 0 where nothing is marked."""
    found = np.zeros(masks.shape[1:], bool)
    for some in _blocks(rows):
        found |= masks[some].any(axis=0)
    return found


def write(arrays: Arrays, prepared: Path, target: Path, blanked: Region, train: npt.NDArray[np.int64]) -> None:
    """A prepared folder `target` like `prepared`, which `arrays` is of, in whose images `blanked` has one colour.

    That is the mean colour of the images of the rows `train`; all other pixels stay as they are.
    """
    fill = np.round(channel_statistics(arrays.inputs, train)["mean"]).astype(np.uint8)
    target.mkdir(parents=True)
    reserve({target / "inputs.npy": arrays.inputs.shape}, np.uint8)
    images = open_memmap(target / "inputs.npy", "r+")
    for rows in _blocks(np.arange(len(images))):
        block = arrays.inputs[rows]
        block[:, blanked] = fill
        images[rows] = block
    shutil.copy(prepared / "meta.json", target)


def _blocks(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
