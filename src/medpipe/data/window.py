"""Grey values of any depth brought to 8 bits by a window."""

import numpy as np
import numpy.typing as npt

from medpipe.errors import Unreadable
from medpipe.params import Percentiles, Values, Window


def grey(values: npt.NDArray, ends: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Of any shape: linear from 0 at the lower of the `ends` to 255 at the upper, rounded, and clipped beyond them.

    NaN becomes 0. Where the ends are equal, what lies above them is 255, the rest 0.
    """
    low, high = ends
    scaled = 255.0 * (values > low) if low == high else (values - np.float64(low)) * (255 / (high - low))
    return np.nan_to_num(np.clip(np.rint(scaled), 0, 255)).astype(np.uint8)


def shown(
    values: npt.NDArray, window: Window, full: tuple[float, float] | None, name: str, of: npt.NDArray | None = None
) -> npt.NDArray[np.uint8]:
    """A file's `values` as greys from 0 to 255 under the declared window; of several windows with an axis of three
    channels behind. Percentiles are of the finite values, of those in `of` where that is given.

    `full` is what the file's type can hold, None for what has no such bounds. Raises Unreadable, of file `name`, where
    the window cannot be that of such a file, or no value is finite.
    """
    if not isinstance(window, tuple):
        return _grey(values, _ends(values if of is None else of, window, full, name))
    channels = [_grey(values, (centre - width / 2, centre + width / 2)) for centre, width in window]
    return channels[0] if len(channels) == 1 else np.stack([*channels, channels[-1]][:3], axis=-1)


def _grey(values: npt.NDArray, ends: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """`grey` of a layer at a time, where there are layers: in between they are floats of 8 bytes."""
    if values.ndim < 3:
        return grey(values, ends)
    greys = np.empty(values.shape, np.uint8)
    for place, layer in enumerate(values):
        greys[place] = grey(layer, ends)
    return greys


def _ends(values: npt.NDArray, window: Window, full: tuple[float, float] | None, name: str) -> tuple[float, float]:
    match window:
        case Values(values=(low, high)):
            return low, high
        case Percentiles():
            finite = values[np.isfinite(values)]
            if not finite.size:
                raise Unreadable(name, "grey values: none is finite")
            low, high = np.percentile(finite, window.percentiles)
            return float(low), float(high)
        case "full" if full is not None:
            return full
    wanted = "full, values or percentiles" if full else "values or percentiles"
    raise Unreadable(name, f"window: {window or 'none'} is set, which this file has not; set decoding.window: {wanted}")
