"""Masks: the values that stand in their files, judged before anything is done to them, and what they mark."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medpipe.errors import Unreadable

_MOST = 2.0**31
_SCALED = 1e-3  # by which scaling in single precision misses a whole number
_COLOUR = 1 << 24  # behind which negative numbers are colours
_NEAR = 63  # by which a JPEG of quality 50 strays from black and white, but for one pixel in 200
_EDGE = 0.1  # pixels between black and white, of the white ones, that are the edges of smoothed masks


class Mask(NamedTuple):
    """The values (h, w) int32 of a mask as they stand in its file, colours as `number` has them; of a slice, `held` are
    those of its whole volume."""

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


def united(mask: Mask, other: Mask, name: str) -> Mask:
    """Both in one. Raises Unreadable, with the `name` of the other, for another size, or another value in a pixel."""
    (height, width), (rows, columns) = mask.values.shape, other.values.shape
    if mask.values.shape != other.values.shape:
        raise Unreadable(name, f"mask size: {columns} x {rows}, of another mask of the image {width} x {height}")
    if ((mask.values != other.values) & (mask.values != 0) & (other.values != 0)).any():
        raise Unreadable(name, "mask values: in some pixels others than in another mask of the image")
    return Mask(np.where(mask.values == 0, other.values, mask.values), tuple(sorted({*mask.held, *other.held})))


def number(value: int | str) -> int:
    """What stands in a Mask for a grey, or a colour as `#ff0000`: a negative number of 25 bits."""
    return value if isinstance(value, int) else -_COLOUR - int(value[1:], 16)


def shown(held: int) -> str:
    """The grey or colour of a number."""
    return f"#{-held - _COLOUR:06x}" if _COLOUR <= -held < 2 * _COLOUR else str(held)


def of_colours(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """(h, w, 3) colours as numbers; where the three are alike they are a grey."""
    red, green, blue = (values[..., channel].astype(np.int32) for channel in range(3))
    grey = (red == green) & (green == blue)
    return np.where(grey, red, -_COLOUR - (red << 16 | green << 8 | blue))


def of_lossy(values: npt.NDArray[np.uint8], name: str) -> npt.NDArray[np.uint8]:
    """(h, w, 3) of a JPEG, which keeps no values: (h, w) 0 and 255, whichever is nearer.

    Raises Unreadable for colours, for greys that are neither black nor white, and for small numbers alone.
    """
    low, high = values.min(axis=-1).astype(np.int32), values.max(axis=-1).astype(np.int32)
    white = low > 127
    between = np.count_nonzero((low > _NEAR) & (high < 255 - _NEAR))
    if (high - low > _NEAR).any() or between > _EDGE * np.count_nonzero(white) or (high.any() and not white.any()):
        raise Unreadable(name, "mask values: a JPEG, which keeps black and white alone; save the masks as PNG")
    return np.where(white, 255, 0).astype(np.uint8)


def marked(values: npt.NDArray[np.int32], marks: Mapping[str, Sequence[int | str]]) -> npt.NDArray[np.uint8]:
    """What each pixel of a mask marks: its place in `marks` (values by name) from 1, or 0. Of the shape of `values`."""
    places = np.zeros(values.shape, np.uint8)
    for place, some in enumerate(marks.values(), 1):
        places[np.isin(values, [number(value) for value in some])] = place
    return places
