"""NIfTI, MetaImage and NRRD volumes: slices along a declared axis, upright, of the whole volume's window."""

import functools
import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from medpipe.data import frames, masks, raw_volumes, window
from medpipe.data.grid import Grid
from medpipe.data.masks import Mask
from medpipe.errors import Unreadable
from medpipe.params import Decoding, Window

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

GZIP = b"\x1f\x8b"
ENDINGS = (".nii", ".nii.gz", ".mha", ".nrrd")
_HEADER = 540  # bytes of NIfTI-2's, the longer one
_EXTENSIONS = 1 << 20  # bytes between header and voxels
ABOUT = _HEADER + _EXTENSIONS
_T = TypeVar("_T", bound=np.generic)
_V = TypeVar("_V")


class _Opened(NamedTuple):
    header: "Nifti1Header"
    size: int  # bytes of header, extensions and voxels
    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]  # (4, 4)
    ways: npt.NDArray[np.float64]  # (3, 2): of each axis, that of right, anterior, superior, and 1 or -1
    flat: bool  # of two axes


def is_nifti(data: bytes) -> bool:
    """Whether the bytes, or what they unpack to, begin as a volume; a damaged archive does not."""
    try:
        return raw_volumes.is_raw_volume(data) or _kind(_unpacked(data, _HEADER)) is not None
    except (OSError, EOFError, zlib.error):
        return False


def grid(data: bytes, *, name: str, decoding: Decoding) -> Grid:
    """The volume's voxels, turned to the closest of right, anterior, superior. Raises Unreadable as `decode` does for
    the header."""
    from nibabel.orientations import inv_ornt_aff

    opened = _open(data, name, decoding.max_voxels)
    turned = sorted(zip(opened.ways[:, 0], opened.shape, strict=True))
    return Grid(tuple(side for _, side in turned), opened.affine @ inv_ornt_aff(opened.ways, opened.shape))


def spacing(data: bytes, *, name: str, decoding: Decoding) -> tuple[float, float, float]:
    """mm from a slice to the next, and of a pixel down and across, as `decode` cuts the volume."""
    axis = _axis(_open(data, name, decoding.max_voxels), decoding, name)
    across, down = (other for other in range(3) if other != axis)
    voxel = grid(data, name=name, decoding=decoding).voxel
    return float(voxel[axis]), float(voxel[down]), float(voxel[across])


def count(data: bytes, *, name: str, decoding: Decoding) -> int:
    """The number of slices along the declared axis. Raises Unreadable as `decode` does for the header."""
    opened = _open(data, name, decoding.max_voxels)
    return dict(zip(opened.ways[:, 0], opened.shape, strict=True))[_axis(opened, decoding, name)]


def decode(data: bytes, *, name: str, decoding: Decoding) -> npt.NDArray[np.uint8]:
    """The slice (h, w) that `name` says, of the volume turned to the closest of right, anterior, superior.

    Under several windows, or with its neighbours, it is (h, w, 3); at the volume's ends it is its own neighbour.

    Superior is on top, in axial slices anterior; right is on the right, in sagittal slices anterior. What has two axes
    is one slice. Raises Unreadable for a damaged file, one of several volumes, of colours or complex numbers, of more
    than `decoding.max_voxels` (known from the header, which also bounds what a .gz unpacks to), one that does not say
    how it lies, and where no axis or window is declared.
    """
    axis, place, total = _place(data, name, decoding)
    volume = _told(_greys(data, decoding.window, decoding.max_voxels), name)
    if not decoding.context:
        return _slice(volume, place, axis)
    near = (max(0, place - 1), place, min(total - 1, place + 1))
    return np.stack([_slice(volume, one, axis) for one in near], axis=-1)


def decode_mask(data: bytes, *, name: str, decoding: Decoding) -> Mask:
    """The slice that `name` says, as `decode` cuts it; the volume's values are judged as a whole (`masks.whole`)."""
    axis, place, _ = _place(data, name, decoding)
    volume, held = _told(_mask(data, decoding.max_voxels), name)
    return Mask(_slice(volume, place, axis), held)


def encode_mask(data: bytes, slices: npt.NDArray[np.uint8], *, name: str, decoding: Decoding) -> bytes:
    """The file (.nii.gz) of a mask on the voxels of the volume in `data`, of slices (n, h, w) as `decode` cuts them."""
    from nibabel import Nifti1Image, Nifti2Image
    from nibabel.orientations import apply_orientation, ornt_transform

    opened = _open(data, name, decoding.max_voxels)
    turned = np.stack([np.rot90(mask, -1) for mask in slices], axis=_axis(opened, decoding, name))
    upright = np.array([[0, 1], [1, 1], [2, 1]])
    stored = apply_orientation(turned, ornt_transform(upright, opened.ways)).reshape(opened.header.get_data_shape())
    header = opened.header.copy()
    header.set_data_dtype(np.uint8)
    header.extensions.clear()
    header["vox_offset"] = header["cal_min"] = header["cal_max"] = 0
    kind = Nifti1Image if _kind(_unpacked(data, _HEADER)) == "1" else Nifti2Image
    return gzip.compress(kind(stored, opened.affine, header).to_bytes(), mtime=0)


def _place(data: bytes, name: str, decoding: Decoding) -> tuple[int, int, int]:
    """The axis to cut along, which slice the name means, and of how many."""
    axis = _axis(_open(data, name, decoding.max_voxels), decoding, name)
    total = count(data, name=name, decoding=decoding)
    return axis, frames.place(name, total), total


def _slice(volume: npt.NDArray[_T], place: int, axis: int) -> npt.NDArray[_T]:
    return np.rot90(volume.take(place, axis))


def _axis(opened: _Opened, decoding: Decoding, name: str) -> int:
    if decoding.axis is None:
        raise Unreadable(
            name, "a volume: images wanted; or set decoding.axis to 0 (sagittal), 1 (coronal) or 2 (axial)"
        )
    return int(opened.ways[2, 0]) if opened.flat else decoding.axis


def _kind(head: bytes) -> str | None:
    return "1" if head[344:348] == b"n+1\0" else "2" if head[4:8] == b"n+2\0" else None


def _unpacked(data: bytes, size: int) -> bytes:
    """At most `size` bytes of the file as NIfTI, of what it unpacks to if it is packed."""
    if raw_volumes.is_raw_volume(data):
        return raw_volumes.as_nifti(data, size)
    return gzip.GzipFile(fileobj=BytesIO(data)).read(size) if data.startswith(GZIP) else data[:size]


def _open(data: bytes, name: str, max_voxels: int) -> _Opened:
    try:
        from nibabel import Nifti1Image, Nifti2Image
        from nibabel.orientations import io_orientation
    except ModuleNotFoundError:
        raise Unreadable(name, "a volume: to read it, install nibabel") from None

    try:
        head = _unpacked(data, _HEADER)
        header = (Nifti1Image if _kind(head) == "1" else Nifti2Image).header_class.from_fileobj(BytesIO(head))
        shape, kind, offset = header.get_data_shape(), header.get_data_dtype(), float(header["vox_offset"])
    except Unreadable as error:
        raise Unreadable(name, error.reason) from None
    except Exception as error:
        raise Unreadable(name, f"damaged: {error}") from None
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise Unreadable(name, f"colour model: voxels of type {kind}; integers or floats of up to 64 bits wanted")
    if len(shape) < 2 or max(shape[3:], default=1) > 1:
        raise Unreadable(name, f"several volumes: shape {'x'.join(map(str, shape))}; one of two or three axes wanted")
    voxels = int(np.prod([int(side) for side in shape], dtype=object))
    if not 0 < voxels <= max_voxels:
        shown = "x".join(map(str, shape))
        raise Unreadable(name, f"too many voxels: {shown}, at most {max_voxels} (decoding.max_voxels)")
    if not 0 <= offset <= _EXTENSIONS:
        raise Unreadable(name, f"damaged: voxels from byte {offset:g} on")
    affine = _affine(header, name)
    sides = (*shape, 1)[:3]
    return _Opened(
        header, int(offset) + voxels * kind.itemsize, sides, affine, io_orientation(affine), flat=len(shape) == 2
    )


def _affine(header: "Nifti1Header", name: str) -> npt.NDArray[np.float64]:
    """The sform, else the qform, else what the voxels' sides say: the first that the header says it has and that is
    one, for some programs write a sform of zeros."""
    candidates: list[Callable[[], npt.NDArray]] = [header.get_sform] if header["sform_code"] > 0 else []
    if header["qform_code"] > 0:
        candidates.append(header.get_qform)
    for get in candidates or [header.get_base_affine]:
        with suppress(Exception):
            affine = get()
            if np.linalg.matrix_rank(affine[:3, :3]) == 3 and np.isfinite(affine).all():
                return affine
    raise Unreadable(name, "orientation: its sform or qform is none, such as all zeros; write how the volume lies")


def _told(volume: _V | Unreadable, name: str) -> _V:
    """The volume, or of file `name` why there is none: a damaged file too is read once for all its slices."""
    if isinstance(volume, Unreadable):
        raise Unreadable(name, volume.reason)
    return volume


@functools.lru_cache(maxsize=1)  # of which all slices are read in turn
def _greys(data: bytes, declared: Window, max_voxels: int) -> npt.NDArray[np.uint8] | Unreadable:
    """(right, anterior, superior) greys of the whole volume, under several windows with three channels behind."""
    try:
        return window.shown(_volume(data, max_voxels), declared, _full(_open(data, "", max_voxels).header), "")
    except Unreadable as error:
        return error


@functools.lru_cache(maxsize=1)
def _mask(data: bytes, max_voxels: int) -> tuple[npt.NDArray[np.int32], tuple[int, ...]] | Unreadable:
    """(right, anterior, superior) values of the whole volume, and those that there are."""
    try:
        values = masks.whole(_volume(data, max_voxels), "")
    except Unreadable as error:
        return error
    return values, tuple(np.unique(values).tolist())


def _volume(data: bytes, max_voxels: int) -> npt.NDArray:
    """(right, anterior, superior) values, scaled as the header says. Raises Unreadable without a name."""
    from nibabel import Nifti1Image, Nifti2Image
    from nibabel.orientations import apply_orientation

    opened = _open(data, "", max_voxels)
    try:
        whole = _unpacked(data, opened.size + 1)
        if len(whole) < opened.size:
            raise Unreadable("", f"damaged: {len(whole)} of {opened.size} bytes")
        image = (Nifti1Image if _kind(whole) == "1" else Nifti2Image).from_bytes(whole)
        return apply_orientation(np.asanyarray(image.dataobj).reshape(opened.shape), opened.ways)
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
