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

from medpipe.data import dicom_greys, frames
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

_PIXELS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
)
_MACROS = (
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
)
_FIRST = (b"UL", b"CS", b"UI", b"OB")  # types of an element that comes first
_SHORT = 128  # bytes of such an element
_ONE = threading.Lock()  # which warnings are shown is the process's, not a thread's


class Header(NamedTuple):
    """`patient`: PatientID, `study`: StudyInstanceUID, '' where there is none; `burned_in`: whether names or marks are
    burned into the pixels, None where the file does not say. Nothing else of a header is kept."""

    patient: str
    study: str
    burned_in: bool | None


def is_dicom(data: bytes) -> bool:
    """Whether the file begins as DICOM, with its preamble or, as some devices export, with its first element."""
    if data[128:132] == b"DICM":
        return True
    if data[:2] in (b"\2\0", b"\x08\0", b"\0\x08") and data[4:6] in _FIRST:
        return True
    length = int.from_bytes(data[4:8], "little")  # without a type: a group's length, character set, kind or class
    return data[:4] in (b"\x08\0\0\0", b"\x08\0\5\0", b"\x08\0\x08\0", b"\x08\0\x16\0") and 0 < length <= _SHORT


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
        greys = dicom_greys.greys(dataset, stored, decoding, name)
        return 255 - greys if dataset.PhotometricInterpretation == "MONOCHROME1" else greys


def decode_mask(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> npt.NDArray:
    """The frame that `name` says: (h, w) of its values behind the modality's rescale or table, which no window and no
    photometric interpretation changes. Raises Unreadable as `decode`, and for colours."""
    with _reading(name):
        dataset, stored = _frame(data, name, max_pixels, decoding)
        if stored.ndim == 3:
            raise Unreadable(name, f"mask values: in colours ({dataset.PhotometricInterpretation}); greys wanted")
        return dicom_greys.modality(dataset, stored, name)[0]


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
    from pydicom import dcmread, uid
    from pydicom.filereader import read_dataset

    file = BytesIO(data[132:] if data[128:132] == b"DICM" else data)
    about = read_dataset(file, False, True, stop_when=lambda tag, _, __: tag.group != 2)
    if "TransferSyntaxUID" in about and about.TransferSyntaxUID not in SYNTAXES:
        raise _packed(name, about.TransferSyntaxUID.name)
    dataset = dcmread(BytesIO(data), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:  # pydicom has seen how the elements are written
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _packed(name: str, syntax: str) -> Unreadable:
    return Unreadable(name, f"transfer syntax: {syntax} is not read; unpack the file (`gdcmconv --raw`, `dcmdjpeg`)")


def _count(dataset: "Dataset", name: str, max_pixels: int) -> int:
    if "PixelData" not in dataset:
        raise Unreadable(name, "no pixels: a DICOM file of another kind than images, or one cut short")
    dicom_greys.need(dataset, _PIXELS, name)
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
