"""NIfTI volumes: slices along a declared axis, upright, of the whole volume's window."""

import functools
import gzip
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from medpipe.data import frames, masks, window
from medpipe.data.grid import Grid
from medpipe.data.masks import Mask
from medpipe.errors import Unreadable
from medpipe.params import Decoding, Window

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

GZIP = b"\x1f\x8b"
_HEADER = 540  # bytes of NIfTI-2's, the longer one
_EXTENSIONS = 1 << 20  # bytes between header and voxels
_T = TypeVar("_T", bound=np.generic)
_V = TypeVar("_V")


class _Opened(NamedTuple):
    header: "Nifti1Header"
    size: int  # bytes of header, extensions and voxels
    shape: tuple[int, ...]


def is_nifti(data: bytes) -> bool:
    """Whether the bytes, or what they unpack to, begin as a NIfTI volume; a damaged archive does not."""
    try:
        return _kind(_unpacked(data, _HEADER)) is not None
    except (OSError, EOFError, zlib.error):
        return False


def grid(data: bytes, *, name: str, max_pixels: int) -> Grid:
    """The volume's voxels, turned to the closest of right, anterior, superior. Raises Unreadable as `decode` does for
    the header."""
    from nibabel.orientations import inv_ornt_aff, io_orientation

    opened = _open(data, name, max_pixels)
    try:
        affine = opened.header.get_best_affine()
        ways = io_orientation(affine)
        shape = [opened.shape[ways[:, 0].tolist().index(axis)] for axis in range(3)]
        return Grid(tuple(shape), affine @ inv_ornt_aff(ways, opened.shape))
    except Exception as error:
        raise Unreadable(name, f"damaged: {error}") from None


def count(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> int:
    """The number of slices along the declared axis. Raises Unreadable as `decode` does for the header."""
    return grid(data, name=name, max_pixels=max_pixels).shape[_axis(decoding, name)]


def decode(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> npt.NDArray[np.uint8]:
    """The slice (h, w) that `name` says, of the volume turned to the closest of right, anterior, superior.

    Superior is on top, in axial slices anterior; right is on the right, in sagittal slices anterior. Raises Unreadable
    for a damaged file, one of several volumes, of colours or complex numbers, of more than `max_pixels` voxels (known
    from the header, which also bounds what a .gz unpacks to), and where no axis or window is declared.
    """
    place = _place(data, name, max_pixels, decoding)
    return _slice(_told(_greys(data, decoding.window, max_pixels), name), place, decoding)


def decode_mask(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> Mask:
    """The slice that `name` says, as `decode` cuts it; the volume's values are judged as a whole (`masks.whole`)."""
    place = _place(data, name, max_pixels, decoding)
    volume, held = _told(_mask(data, max_pixels), name)
    return Mask(_slice(volume, place, decoding), held)


def _place(data: bytes, name: str, max_pixels: int, decoding: Decoding) -> int:
    return frames.place(name, count(data, name=name, max_pixels=max_pixels, decoding=decoding))


def _slice(volume: npt.NDArray[_T], place: int, decoding: Decoding) -> npt.NDArray[_T]:
    assert decoding.axis is not None
    return np.rot90(volume.take(place, decoding.axis))


def _axis(decoding: Decoding, name: str) -> int:
    if decoding.axis is None:
        raise Unreadable(
            name, "a volume: images wanted; or set decoding.axis to 0 (sagittal), 1 (coronal) or 2 (axial)"
        )
    return decoding.axis


def _kind(head: bytes) -> str | None:
    return "1" if head[344:348] == b"n+1\0" else "2" if head[4:8] == b"n+2\0" else None


def _unpacked(data: bytes, size: int) -> bytes:
    """At most `size` bytes of the file, of what it unpacks to if it is packed."""
    return gzip.GzipFile(fileobj=BytesIO(data)).read(size) if data.startswith(GZIP) else data[:size]


def _open(data: bytes, name: str, max_pixels: int) -> _Opened:
    try:
        from nibabel import Nifti1Image, Nifti2Image
    except ModuleNotFoundError:
        raise Unreadable(name, "a NIfTI volume: to read it, install nibabel") from None

    head = _unpacked(data, _HEADER)
    try:
        header = (Nifti1Image if _kind(head) == "1" else Nifti2Image).header_class.from_fileobj(BytesIO(head))
        shape, kind, offset = header.get_data_shape(), header.get_data_dtype(), float(header["vox_offset"])
    except Exception as error:
        raise Unreadable(name, f"damaged: {error}") from None
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise Unreadable(name, f"colour model: voxels of type {kind}; integers or floats of up to 64 bits wanted")
    if len(shape) < 3 or max(shape[3:], default=1) > 1:
        raise Unreadable(name, f"several volumes: shape {'x'.join(map(str, shape))}; one of three axes wanted")
    voxels = int(np.prod([int(side) for side in shape], dtype=object))
    if not 0 < voxels <= max_pixels:
        raise Unreadable(name, f"too many pixels: {'x'.join(map(str, shape))} voxels, at most {max_pixels}")
    if not 0 <= offset <= _EXTENSIONS:
        raise Unreadable(name, f"damaged: voxels from byte {offset:g} on")
    return _Opened(header, int(offset) + voxels * kind.itemsize, shape[:3])


def _told(volume: _V | Unreadable, name: str) -> _V:
    """The volume, or of file `name` why there is none: a damaged file too is read once for all its slices."""
    if isinstance(volume, Unreadable):
        raise Unreadable(name, volume.reason)
    return volume


@functools.lru_cache(maxsize=1)  # of which all slices are read in turn
def _greys(data: bytes, declared: Window, max_pixels: int) -> npt.NDArray[np.uint8] | Unreadable:
    """(right, anterior, superior) greys of the whole volume."""
    try:
        values = _volume(data, max_pixels)
        ends = window.ends(values, declared, _full(_open(data, "", max_pixels).header), "")
    except Unreadable as error:
        return error
    greys = np.empty(values.shape, np.uint8)
    for place, layer in enumerate(values):  # one at a time: in between they are floats of 8 bytes
        greys[place] = window.grey(layer, ends)
    return greys


@functools.lru_cache(maxsize=1)
def _mask(data: bytes, max_pixels: int) -> tuple[npt.NDArray[np.int32], tuple[int, ...]] | Unreadable:
    """(right, anterior, superior) values of the whole volume, and those that there are."""
    try:
        values = masks.whole(_volume(data, max_pixels), "")
    except Unreadable as error:
        return error
    return values, tuple(np.unique(values).tolist())


def _volume(data: bytes, max_pixels: int) -> npt.NDArray:
    """(right, anterior, superior) values, scaled as the header says. Raises Unreadable without a name."""
    from nibabel import Nifti1Image, Nifti2Image, as_closest_canonical

    opened = _open(data, "", max_pixels)
    try:
        whole = _unpacked(data, opened.size + 1)
        if len(whole) < opened.size:
            raise Unreadable("", f"damaged: {len(whole)} of {opened.size} bytes")
        image = as_closest_canonical((Nifti1Image if _kind(whole) == "1" else Nifti2Image).from_bytes(whole))
        return np.asanyarray(image.dataobj).reshape(image.shape[:3])
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable("", f"damaged: {error}") from None


def _full(header: "Nifti1Header") -> tuple[float, float] | None:
    """What the type of the voxels can hold, scaled as they are; None for floats."""
    kind = header.get_data_dtype()
    if kind.kind == "f":
        return None
    slope, intercept = header.get_slope_inter()  # None where there is no scaling
    low, high = sorted(float(end) * (slope or 1) + (intercept or 0) for end in (np.iinfo(kind).min, np.iinfo(kind).max))
    return low, high
