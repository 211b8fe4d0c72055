"""MetaImage (.mha) and NRRD files, a header of text before the voxels, read as the NIfTI volume that they say.

https://itk.org/Wiki/ITK/MetaIO/Documentation, https://teem.sourceforge.net/nrrd/format.html. SimpleITK reads them too,
but takes more room than all else that a served model needs, and reads files by their paths alone.
"""

import gzip
import re
import zlib
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medpipe.errors import Unreadable

_META = re.compile(rb"\s*(ObjectType|NDims|Comment)\s*=")
_LONGEST = 1 << 16  # bytes of a header
_OFFSET = 544  # of the voxels in a NIfTI-2 file without extensions
_BYTES = {"char": 1, "short": 2, "int": 4, "long": 4, "long long": 8, "longlong": 8} | {
    f"int{8 * size}": size for size in (1, 2, 4, 8)
}
# Of NRRD's spaces, what is towards right, anterior and superior; ITK takes a file without one for LPS.
_SPACES = {
    **dict.fromkeys(("", "left-posterior-superior", "lps"), (-1, -1, 1)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (-1, 1, 1)),
}


class _Header(NamedTuple):
    """`ways` (axes, space): from voxel to voxel along each axis, in `origin`'s space; `signs` turn that to right,
    anterior, superior. `start`: of the voxels in the file, packed as `packing` says: raw, zlib or gzip."""

    shape: tuple[int, ...]
    kind: np.dtype
    ways: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    signs: tuple[int, int, int]
    start: int
    packing: str


def is_raw_volume(data: bytes) -> bool:
    """Whether the bytes begin as a MetaImage or NRRD header."""
    return data.startswith(b"NRRD000") or _META.match(data) is not None


def as_nifti(data: bytes, size: int) -> bytes:
    """The first `size` bytes of the volume as a NIfTI-2 file; no more is unpacked.

    Raises Unreadable, without a name, for what such files can say and is not read, and ValueError or KeyError for a
    damaged header.
    """
    from nibabel import Nifti2Header

    said = _nrrd(data) if data.startswith(b"NRRD") else _metaimage(data)
    if said.ways.shape not in ((2, 2), (2, 3), (3, 3)) or len(said.shape) != len(said.ways):
        raise Unreadable(
            "", f"several volumes: shape {'x'.join(map(str, said.shape))}; one of two or three axes wanted"
        )
    axes, space = said.ways.shape
    affine = np.eye(4)
    affine[:space, :axes], affine[:space, 3] = said.ways.T, said.origin
    if (axes, space) == (2, 3):
        affine[:3, 2] = np.cross(*said.ways)
    header = Nifti2Header(endianness=">" if said.kind.byteorder == ">" else "<")
    header.set_data_dtype(said.kind)
    header.set_data_shape(said.shape)
    header.set_sform(np.diag([*said.signs, 1]) @ affine, code=1)
    header["vox_offset"] = _OFFSET
    head = header.binaryblock.ljust(_OFFSET, b"\0")[:size]
    return head + _voxels(data, said, size - len(head))


def _voxels(data: bytes, said: _Header, size: int) -> bytes:
    packed = memoryview(data)[said.start :]
    match said.packing:
        case "zlib":
            return zlib.decompressobj().decompress(packed, size) if size else b""  # 0 is no limit
        case "gzip":
            return gzip.GzipFile(fileobj=BytesIO(packed)).read(size)
    return bytes(packed[:size])


def _metaimage(data: bytes) -> _Header:
    found = re.search(rb"^ElementDataFile\s*=[ \t]*(.*?)\s*?\n", data[:_LONGEST], re.MULTILINE)
    if found is None:
        raise ValueError("no ElementDataFile")
    lines = data[: found.start()].decode("latin-1").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    if found[1].upper() != b"LOCAL":
        raise Unreadable("", f"voxels in another file: {found[1].decode('latin-1')!r}; write one file, .mha")
    if fields.get("BinaryData", "True").lower() != "true" or fields.get("HeaderSize", "0") != "0":
        raise Unreadable("", "voxels as text, or behind a header of their own: binary ones wanted")
    if (channels := fields.get("ElementNumberOfChannels", "1")) != "1":
        raise Unreadable("", f"colour model: {channels} channels; one wanted")
    axes = int(fields["NDims"])
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    turned = _numbers(_first(fields, "TransformMatrix", "Rotation", "Orientation"), np.eye(axes).ravel())
    spacing = _numbers(_first(fields, "ElementSpacing", "ElementSize"), np.ones(axes))
    return _Header(
        shape=tuple(int(side) for side in fields["DimSize"].split()),
        kind=_kind(fields["ElementType"].lower().removeprefix("met_").replace("_", " "), big),
        ways=turned.reshape(axes, axes) * spacing[:, None],
        origin=_numbers(_first(fields, "Offset", "Position", "Origin"), np.zeros(axes)),
        signs=_SPACES["lps"],
        start=found.end(),
        packing="zlib" if fields.get("CompressedData", "False").lower() == "true" else "raw",
    )


def _nrrd(data: bytes) -> _Header:
    end = re.search(rb"\n\r?\n", data[:_LONGEST])
    if end is None:
        raise Unreadable("", "voxels in another file, or a header cut short: write one file, .nrrd")
    lines = data[: end.start()].decode("latin-1").splitlines()[1:]
    pairs = (line.partition(": ") for line in lines if not line.startswith("#"))
    fields = {key.strip().lower().replace(" ", ""): value.strip() for key, _, value in pairs}
    if "datafile" in fields:
        raise Unreadable("", f"voxels in another file: {fields['datafile']!r}; write one file, .nrrd")
    packing = {"gz": "gzip"}.get(encoding := fields["encoding"].lower(), encoding)
    if packing not in ("raw", "gzip") or any(fields.get(skip, "0") != "0" for skip in ("lineskip", "byteskip")):
        raise Unreadable("", f"voxels: encoding {encoding}, or behind bytes to skip; raw or gzip wanted, and no skip")
    if (space := fields.get("space", "").lower()) not in _SPACES:
        raise Unreadable("", f"space: {space}; one of {', '.join(filter(None, _SPACES))} wanted")
    shape = tuple(int(side) for side in fields["sizes"].split())
    if "spacedirections" in fields:
        ways = np.array([_numbers(way, None) for way in re.findall(r"\(([^)]*)\)", fields["spacedirections"])])
    else:
        spacing = _numbers(fields.get("spacings", ""), np.ones(len(shape)))
        ways = np.diag(np.where(np.isnan(spacing), 1, spacing))
    return _Header(
        shape=shape,
        kind=_kind(fields["type"].lower(), fields.get("endian", "little").lower() == "big"),
        ways=ways,
        origin=_numbers(fields.get("spaceorigin", "").strip("()"), np.zeros(ways.shape[-1])),
        signs=_SPACES[space],
        start=end.end(),
        packing=packing,
    )


def _first(fields: dict[str, str], *names: str) -> str:
    return next((fields[name] for name in names if name in fields), "")


def _numbers(text: str, default: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
    values = np.array(text.replace(",", " ").split(), np.float64)
    return values if values.size or default is None else default


def _kind(name: str, big: bool) -> np.dtype:
    """Of a type as C, NRRD or MetaImage call it: `unsigned short int`, `uint16_t`, `ushort`."""
    plain = re.sub(r"^(un)?signed |^u(?=[a-z])|_t$| int$", "", name)
    code = {"float": "f4", "double": "f8"}.get(plain) or f"{'u' if name.startswith('u') else 'i'}{_BYTES[plain]}"
    return np.dtype(code).newbyteorder(">" if big else "<")
