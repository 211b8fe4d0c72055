"""ONNX external data: a fusion's file names its members' files, and does not hold their weights again.

A tensor says the other file's name, which lies in the same folder, its place there and the file's SHA-1
(https://github.com/onnx/onnx/blob/main/docs/ExternalData.md). The runtime reads it without looking at the SHA-1.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, set_external_data, uses_external_data

from medpipe.errors import InputError
from medpipe.models.delivery import GRAPH

LEAST = 1024  # bytes of a tensor; to say where it lies takes about 150


def refer(graph: bytes, members: Sequence[Path]) -> bytes:
    """The ONNX file `graph` with each large tensor that an ONNX file of `members`, or one that such a file names, holds
    byte for byte read from there. It then has to lie in their folder.

    Raises InputError where one of those files is missing, or is not the one that a member names.
    """
    sources = {source for member in members for source in (member, *referred(member))}
    places: dict[bytes, tuple[str, int, int, str]] = {}
    for source in sorted(sources):
        if source.name != GRAPH:  # the name of `graph` in a package
            places |= dict(_places(source))
    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if (place := places.get(hashlib.sha256(tensor.raw_data).digest())) is not None:
            set_external_data(tensor, *place)
            tensor.ClearField("raw_data")
    return model.SerializeToString()


def referred(graph: Path) -> list[Path]:
    """The files beside the ONNX file `graph` that it reads weights from.

    Raises InputError where one of them, or `graph`, is missing, and where one has other bytes than it had.
    """
    tensors = onnx.load_from_string(_read(graph)).graph.initializer
    named = {(about.location, about.checksum) for about in map(ExternalDataInfo, filter(uses_external_data, tensors))}
    for name, checksum in sorted(named):
        if _sha1(_read(graph.with_name(name))) != checksum:
            raise InputError(
                f"{graph} reads weights from {name} beside it, which has other bytes than when {graph.stem} was "
                "evaluated; run `dvc repro`, or get both files by `dvc checkout`"
            )
    return [graph.with_name(name) for name, _ in sorted(named)]


def _places(source: Path) -> Iterator[tuple[bytes, tuple[str, int, int, str]]]:
    """Of each large tensor that the ONNX file holds its SHA-256, and location, offset, length and checksum."""
    data, end = _read(source), 0
    checksum = _sha1(data)
    for tensor in onnx.load_from_string(data).graph.initializer:
        if len(raw := tensor.raw_data) >= LEAST:
            start = data.index(raw, end)  # tensors lie in the file in their order
            end = start + len(raw)
            yield hashlib.sha256(raw).digest(), (source.name, start, len(raw), checksum)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: not here; evaluate that model (`dvc repro`), or get it by `dvc checkout`") from None


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
