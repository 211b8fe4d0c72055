"""Masks: the values that stand in their files, judged before anything is done to them, and what they mark."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medpipe.errors import Unreadable

_MOST = 2.0**31
_SCALED = 1e-3  # by which scaling in single precision misses a whole number


class Mask(NamedTuple):
    """The values (h, w) int32 of a mask as they stand in its file; of a slice, `held` are those of its whole volume."""

    values: npt.NDArray[np.int32]
    held: tuple[int, ...]


def whole(values: npt.NDArray, name: str) -> npt.NDArray[np.int32]:
    """Values of any shape as they are. Raises Unreadable for what is no whole number of 32 bits."""
    rounded = values if values.dtype.kind in "iu" else np.rint(values)
    with np.errstate(invalid="ignore"):  # inf - inf
        wrong = ~(np.abs(values - rounded) < _SCALED) | (rounded < -_MOST) | (rounded >= _MOST)
    if wrong.any():
        some = ", ".join(f"{value:g}" for value in np.unique(values[wrong])[:5])
        raise Unreadable(name, f"mask values: {some}; whole numbers wanted, one a class (mask_values)")
    return rounded.astype(np.int32)


def marked(values: npt.NDArray[np.int32], marks: Mapping[str, Sequence[int]]) -> npt.NDArray[np.uint8]:
    """What each pixel of a mask marks: its place in `marks` (values by name) from 1, or 0. Of the shape of `values`."""
    places = np.zeros(values.shape, np.uint8)
    for place, some in enumerate(marks.values(), 1):
        places[np.isin(values, some)] = place
    return places
