"""DICOM files: pixels as their header says to show them, and the two facts of the header that readers may have."""

import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from medpipe.data import frames, window
from medpipe.data.grid import Grid
from medpipe.errors import Unreadable
from medpipe.params import Decoding

if TYPE_CHECKING:
    from pydicom import Dataset  # of a size that who reads other files does without

COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GREYS = ("MONOCHROME1", "MONOCHROME2")
EXTENDED = "1.2.840.10008.1.2.4.51"  # JPEG, of which Pillow reads 8 bits
# Transfer syntaxes, and which plugin of pydicom's unpacks them. GDCM, which unpacks more, dies of damaged files; what
# is deflated has no bound.
SYNTAXES = {
    "1.2.840.10008.1.2": "",
    "1.2.840.10008.1.2.1": "",
    "1.2.840.10008.1.2.2": "",
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG
    EXTENDED: "pillow",
    "1.2.840.10008.1.2.4.90": "pillow",  # JPEG 2000, lossless and lossy
    "1.2.840.10008.1.2.4.91": "pillow",
}

_MACROS = (
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
)
_ONE = threading.Lock()  # which warnings are shown is the process's, not a thread's


class Header(NamedTuple):
    """`patient`: PatientID, `study`: StudyInstanceUID, '' where there is none; `burned_in`: whether names or marks are
    burned into the pixels, None where the file does not say. Nothing else of a header is kept."""

    patient: str
    study: str
    burned_in: bool | None


def is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def header(data: bytes, *, name: str) -> Header:
    """What readers may know of a file. Raises Unreadable for a damaged one."""
    with _reading(name):
        dataset = _dataset(data, name)
        patient, study = (str(dataset.get(key) or "").strip() for key in ("PatientID", "StudyInstanceUID"))
        return Header(patient, study, {"YES": True, "NO": False}.get(dataset.get("BurnedInAnnotation")))


def count(data: bytes, *, name: str, max_pixels: int) -> int:
    """The number of frames. Raises Unreadable as `decode` does for the header."""
    with _reading(name):
        return _count(_dataset(data, name), name, max_pixels)


def decode(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> npt.NDArray[np.uint8]:
    """The frame that `name` says: (h, w) of greys, (h, w, 3) of colours.

    Greys go through the modality's rescale or table and the declared window; those of MONOCHROME1 are turned. Raises
    Unreadable for a damaged file, one without pixels, of more than `max_pixels` in all frames, or of a transfer syntax
    or photometric interpretation that is not read, and for several frames where they are refused.
    """
    with _reading(name):
        dataset, stored = _frame(data, name, max_pixels, decoding)
        if stored.ndim == 3:
            return stored
        greys = _greys(dataset, stored, decoding, name)
        return 255 - greys if dataset.PhotometricInterpretation == "MONOCHROME1" else greys


def decode_mask(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> npt.NDArray:
    """The frame that `name` says: (h, w) of its values behind the modality's rescale or table, which no window and no
    photometric interpretation changes. Raises Unreadable as `decode`, and for colours."""
    with _reading(name):
        dataset, stored = _frame(data, name, max_pixels, decoding)
        if stored.ndim == 3:
            raise Unreadable(name, f"mask values: in colours ({dataset.PhotometricInterpretation}); greys wanted")
        return _modality(dataset, stored)[0]


def grids(data: bytes, *, name: str) -> list[Grid | None]:
    """Where the pixels of each frame lie in the patient; None where the file does not say. Raises Unreadable for a
    damaged one."""
    with _reading(name):
        dataset, found = _dataset(data, name), list[Grid | None]()
        for frame in range(int(dataset.get("NumberOfFrames") or 1)):
            _lift(dataset, frame)
            place, ways, spacing = (
                np.array(dataset.get(key) or (), np.float64)
                for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
            )
            if not place.size or not ways.size or not spacing.size:
                found.append(None)
                continue
            down, right = ways[3:] * spacing[0], ways[:3] * spacing[1]  # from row to row, from column to column
            found.append(Grid((dataset.Rows, dataset.Columns), np.stack([down, right, place], axis=1)))
        return found


def _frame(data: bytes, name: str, max_pixels: int, decoding: Decoding) -> tuple["Dataset", npt.NDArray]:
    """The header, as that of the frame which `name` says, and the frame's stored values, or its colours."""
    from pydicom.pixels import pixel_array

    dataset = _dataset(data, name)
    total = _count(dataset, name, max_pixels)
    frames.check(name, total, decoding.frames)
    place = frames.place(name, total)
    colours, samples, bits = dataset.PhotometricInterpretation, dataset.SamplesPerPixel, dataset.BitsAllocated
    if not (colours in GREYS and samples == 1) and not (colours in COLOURS and (samples, bits) == (3, 8)):
        told = f"{colours}, {samples} of {bits} bits a pixel"
        raise Unreadable(name, f"colour model: {told}; one of grey, or RGB or YBR of 8 bits wanted")
    _check_packed(dataset, place, total, name)
    stored = pixel_array(dataset, index=place, decoding_plugin=SYNTAXES[dataset.file_meta.TransferSyntaxUID])
    _lift(dataset, place)
    return dataset, stored


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Within, whatever goes wrong is the file's fault: pydicom reads an element of the header when it is asked for."""
    try:
        with _ONE, warnings.catch_warnings(action="ignore"):  # of what is amiss and does no harm
            yield
    except Unreadable:
        raise
    except ModuleNotFoundError:
        raise Unreadable(name, "a DICOM file: to read it, install pydicom") from None
    except Exception as error:
        raise Unreadable(name, "damaged: " + str(error).partition("\n")[0]) from None


def _dataset(data: bytes, name: str) -> "Dataset":
    from pydicom import dcmread
    from pydicom.filereader import read_dataset

    file = BytesIO(data[132:])
    syntax = read_dataset(file, False, True, stop_when=lambda tag, _, __: tag.group != 2).TransferSyntaxUID
    if syntax not in SYNTAXES:
        raise _packed(name, syntax.name)
    return dcmread(BytesIO(data))


def _packed(name: str, syntax: str) -> Unreadable:
    return Unreadable(name, f"transfer syntax: {syntax} is not read; unpack the file (`gdcmconv --raw`, `dcmdjpeg`)")


def _count(dataset: "Dataset", name: str, max_pixels: int) -> int:
    if "PixelData" not in dataset:
        raise Unreadable(name, "no pixels: a DICOM file of another kind than images, or one cut short")
    rows, columns, total = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames") or 1)
    if min(rows, columns, total) < 1:
        raise Unreadable(name, f"damaged: {columns} x {rows} pixels, {total} frames")
    if rows * columns * total > max_pixels:
        raise Unreadable(name, f"too many pixels: {columns} x {rows}, {total} frames, at most {max_pixels}")
    return total


def _check_packed(dataset: "Dataset", place: int, total: int, name: str) -> None:
    """Raises Unreadable where the packed frame has more bits than is read, or another size than the header says: what
    unpacks it would make room for that."""
    from pydicom.encaps import get_frame

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == EXTENDED and dataset.BitsStored != 8:
        raise _packed(name, f"{syntax.name} of {dataset.BitsStored} bits")
    if SYNTAXES[syntax] != "pillow":
        return
    rows, columns = _coded(get_frame(dataset.PixelData, place, number_of_frames=total))
    if (rows, columns) != (dataset.Rows, dataset.Columns):
        raise Unreadable(name, f"damaged: {dataset.Columns} x {dataset.Rows} pixels, packed {columns} x {rows}")


def _coded(frame: bytes) -> tuple[int, int]:
    """Rows and columns that a JPEG or JPEG 2000 stream says it has. Raises struct.error where it is cut."""
    if (start := frame.find(b"\xff\x4f\xff\x51", 0, 1 << 12)) >= 0:  # JPEG 2000, bare or in boxes
        right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
        return bottom - top, right - left
    place = 2
    while True:
        marker, length = struct.unpack_from(">2H", frame, place)
        if marker in (0xFFC0, 0xFFC1, 0xFFC2):  # the frame's start
            return struct.unpack_from(">2H", frame, place + 5)
        place += 2 + length


def _lift(dataset: "Dataset", place: int) -> None:
    """Put what an enhanced file says of a frame where other files have it: rescale, window, and the pixels' place."""
    groups = list(dataset.get("SharedFunctionalGroupsSequence") or ())
    groups += list(dataset.get("PerFrameFunctionalGroupsSequence") or ())[place : place + 1]
    for group in groups:
        for macro in _MACROS:
            for item in group.get(macro) or ():
                dataset.update(item)


def _modality(dataset: "Dataset", stored: npt.NDArray) -> tuple[npt.NDArray, tuple[float, float]]:
    """What the stored values mean, and the least and most that their type can."""
    if dataset.get("ModalityLUTSequence"):
        table = dataset.ModalityLUTSequence[0]
        return _looked_up(dataset, table, stored), (0, (1 << table.LUTDescriptor[2]) - 1)
    low = -(1 << dataset.BitsStored - 1) if dataset.PixelRepresentation else 0
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    full = sorted(end * slope + intercept for end in (low, low + (1 << dataset.BitsStored) - 1))
    return stored * slope + intercept, (full[0], full[1])


def _greys(dataset: "Dataset", stored: npt.NDArray, decoding: Decoding, name: str) -> npt.NDArray[np.uint8]:
    """The frame's stored values as greys from 0 to 255, not turned."""
    values, full = _modality(dataset, stored)
    if decoding.window != "file":
        return window.grey(values, window.ends(values, decoding.window, full, name))
    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        return window.grey(_looked_up(dataset, table, values), (0, (1 << table.LUTDescriptor[2]) - 1))
    if "WindowCenter" not in dataset or "WindowWidth" not in dataset:
        raise Unreadable(name, "window: the file names none; set decoding.window: full, values or percentiles")
    centre, width = (float(np.atleast_1d(dataset[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
    kind = dataset.get("VOILUTFunction") or "LINEAR"
    if width < (kind == "LINEAR") or width == 0:
        raise Unreadable(name, f"window: the file's is {width:g} wide")
    match kind:  # PS3.3 C.11.2.1.2 and C.11.2.1.3
        case "LINEAR":
            return window.grey(values, (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2))
        case "LINEAR_EXACT":
            return window.grey(values, (centre - width / 2, centre + width / 2))
        case "SIGMOID":
            return window.grey(1 / (1 + np.exp(-4 * (values - centre) / width)), (0, 1))
    raise Unreadable(name, f"window: the file's VOI LUT function {kind} is not read")


def _looked_up(dataset: "Dataset", table: "Dataset", values: npt.NDArray) -> npt.NDArray:
    """`values` through a table of the header; those beyond its ends get its first and last entry (PS3.3 C.11.1.1)."""
    number, first, _ = table.LUTDescriptor
    entries = table.LUTData
    if isinstance(entries, bytes):
        width = "u1" if len(entries) == number else "u2"
        entries = np.frombuffer(entries, width if width == "u1" else "<>"[not dataset.original_encoding[1]] + width)
    entries = np.asarray(entries)[: number or 1 << 16]
    return entries[np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)]
