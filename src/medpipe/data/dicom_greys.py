"""What the stored values of a DICOM file mean, and the greys that show them.

Vendors leave elements empty, which counts as absent, and describe tables wrongly, of which the data decide.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medpipe.data import window
from medpipe.errors import Unreadable
from medpipe.params import Decoding, Percentiles

if TYPE_CHECKING:
    from pydicom import Dataset

_WINDOWS = ("WindowCenter", "WindowWidth", "VOILUTFunction")
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_SIGNED = 1 << 16  # by which the first entry of a table is off where its sign is taken for another


def need(dataset: "Dataset", keywords: tuple[str, ...], name: str) -> None:
    """Raises Unreadable, of file `name`, that names the elements which are absent or empty."""
    from pydicom.datadict import dictionary_description
    from pydicom.tag import Tag

    if missing := [key for key in keywords if not given(dataset, key)]:
        told = ", ".join(f"{dictionary_description(key)} {Tag(key)}" for key in missing)
        raise Unreadable(name, f"missing elements: {told}")


def given(dataset: "Dataset", keyword: str) -> bool:
    return keyword in dataset and not dataset[keyword].is_empty


def modality(dataset: "Dataset", stored: npt.NDArray, name: str) -> tuple[npt.NDArray, tuple[float, float]]:
    """What the stored values mean, by the modality's table or rescale, and the least and most that their type can."""
    from pydicom.pixels import apply_rescale

    if dataset.get("ModalityLUTSequence"):
        return _looked_up(dataset, dataset.ModalityLUTSequence[0], stored, name)
    low = -(1 << dataset.BitsStored - 1) if dataset.PixelRepresentation else 0
    full = np.array([low, low + (1 << dataset.BitsStored) - 1])
    if given(dataset, "RescaleSlope") or given(dataset, "RescaleIntercept"):
        for keyword, neutral in (("RescaleSlope", 1), ("RescaleIntercept", 0)):
            if not given(dataset, keyword):
                setattr(dataset, keyword, neutral)
        stored, full = apply_rescale(stored, dataset), apply_rescale(full, dataset)
    return stored, (float(full.min()), float(full.max()))


def greys(dataset: "Dataset", stored: npt.NDArray, decoding: Decoding, name: str) -> npt.NDArray[np.uint8]:
    """The frame's stored values (h, w) as greys from 0 to 255, not turned, under several windows
    (h, w, 3). Raises Unreadable, of file `name`."""
    from pydicom import Dataset
    from pydicom.pixels import apply_windowing

    values, full = modality(dataset, stored, name)
    if decoding.window != "file":
        imaged = values[~_padding(dataset, stored)] if isinstance(decoding.window, Percentiles) else None
        return window.shown(values, decoding.window, full, name, of=imaged)
    if dataset.get("VOILUTSequence"):
        return window.grey(*_looked_up(dataset, dataset.VOILUTSequence[0], values, name))
    if not (given(dataset, "WindowCenter") and given(dataset, "WindowWidth")):
        raise Unreadable(name, "window: the file names none; set decoding.window: full, values or percentiles")
    eight = Dataset()  # of 8 bits, so that what is shown lies in 0 to 255
    eight.PhotometricInterpretation, eight.BitsStored, eight.PixelRepresentation = "MONOCHROME2", 8, 0
    for keyword in _WINDOWS:
        if given(dataset, keyword):
            eight.add(dataset[keyword])
    width = float(np.atleast_1d(eight["WindowWidth"].value)[0])
    if width <= 0:
        raise Unreadable(name, f"window: the file's is {width:g} wide")
    kind = eight.get("VOILUTFunction", "LINEAR")
    if kind not in _FUNCTIONS:
        raise Unreadable(name, f"window: the file's VOI LUT function {kind} is not read")
    if kind == "LINEAR" and width < 1:  # which its formula has no greys for
        eight.VOILUTFunction = "LINEAR_EXACT"
    return window.grey(apply_windowing(values, eight), (0, 255))


def _padding(dataset: "Dataset", stored: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Which stored values fill up what was not imaged. None where all would."""
    if not given(dataset, "PixelPaddingValue"):
        return np.zeros(stored.shape, bool)
    last = "PixelPaddingRangeLimit" if given(dataset, "PixelPaddingRangeLimit") else "PixelPaddingValue"
    # Vendors write it unsigned beside signed pixels, and the other way round.
    ends = np.array([dataset.PixelPaddingValue, dataset[last].value]).astype(stored.dtype)
    padding = (stored >= ends.min()) & (stored <= ends.max())
    return padding & (not padding.all())


def _looked_up(
    dataset: "Dataset", table: "Dataset", values: npt.NDArray, name: str
) -> tuple[npt.NDArray, tuple[float, float]]:
    """`values` through a table of the header, and the least and most of such a table; values beyond its ends get its
    first and last entry (PS3.3 C.11.1.1). pydicom's own function wants it as described, and of whole numbers.

    Of whether the first value is signed, the range of `values` decides; of how wide an entry is, the data.
    """
    need(table, ("LUTDescriptor", "LUTData"), name)
    number, first, bits = table.LUTDescriptor
    number = number or 1 << 16
    data = table.LUTData
    if not isinstance(data, bytes):
        words = np.atleast_1d(data).astype("<i8").astype("<u2")
        data = words.tobytes()
    else:
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if dataset.original_encoding[1] else ">u2")
    packed = number > 1 and len(data) in (number, number + 1)  # two entries a word
    entries = (np.frombuffer(data, "u1") if packed else words)[:number]
    top, full = int(entries.max()), (1 << bits) - 1
    if not full // 4 < top <= full:
        full = (1 << top.bit_length()) - 1
    low, high = float(values.min()), float(values.max())
    first = max(
        (first, first - _SIGNED, first + _SIGNED),
        key=lambda start: min(high, start + len(entries) - 1) - max(low, start),
    )
    places = np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)
    return entries[places], (0, full)
