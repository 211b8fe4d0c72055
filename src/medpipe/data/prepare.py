"""What a model reads, made once: images decoded and resized into memory-mapped arrays, metadata as one matrix."""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from PIL import Image

from medpipe.data import features, mask_files
from medpipe.data.archive import Archive
from medpipe.data.arrays import reserve
from medpipe.data.chunks import in_chunks
from medpipe.data.images import decode, digest, mask_to_array, most_bytes, to_array
from medpipe.data.masks import Mask
from medpipe.errors import InputError
from medpipe.params import Decoding, Feature, PreparedImages, PreparedTable, TableVariant

_FLUSH = 128  # images written between two closings of the map: pages that are mapped count as a process's memory


def prepare_images(
    table: pd.DataFrame, archive_path: Path | str, prepared: PreparedImages, folder: Path, max_pixels: int
) -> None:
    """Write inputs.npy (n, h, w, 3) uint8, meta.json, and where masks are declared masks.npy (n, h, w) uint8.

    Processes fill the arrays in place, so that memory does not grow with the images. Raises InputError that names the
    file where one is missing, is unreadable or has other bytes than at ingest, and before all that where the
    disk has no room.
    """
    side = prepared.sizes[-1]
    shape = (len(table), side, side)
    shapes: dict[Path, tuple[int, ...]] = {folder / "inputs.npy": (*shape, 3)}
    if prepared.mask_values is not None:
        shapes[folder / "masks.npy"] = shape
    reserve(shapes, np.uint8)
    archive = Archive(archive_path)
    rows = table[["path", "sha256", "mask_path", "mask_sha256"]].reset_index(drop=True)
    work = partial(_fill, prepared=prepared, folder=folder, max_pixels=max_pixels)
    in_chunks(archive, rows, work, f"prepare {prepared.task}")
    source = "".join([*table["sha256"], *table["mask_sha256"]]).encode()
    _write_meta(folder, table, prepared, [], source, _volumes(table, prepared))


def _volumes(table: pd.DataFrame, prepared: PreparedImages) -> dict[str, list] | None:
    """Columns of `Arrays.volumes`; None where not all rows are slices of volumes."""
    if "volume" not in table or table["volume"].isna().any():
        return None
    sides = table[["height", "width"]].to_numpy(np.float64)
    if prepared.square:
        sides = sides.min(axis=1, keepdims=True)
    pixels = table[["mm_down", "mm_across"]] * sides / prepared.sizes[-1]
    return table[["volume", "slice", "mm_between"]].assign(**pixels).astype({"slice": int}).to_dict("list")  # type: ignore[return-value]


def prepare_table(table: pd.DataFrame, declared: Mapping[str, Feature], variant: TableVariant, folder: Path) -> None:
    """Write inputs.npy (n, features) float32 with NaN for unknown, and meta.json with the features' names."""
    names = features.columns(table, declared)
    matrix = table[names].to_numpy(np.float32)
    np.save(folder / "inputs.npy", matrix)
    prepared = PreparedTable(**variant.model_dump(), features=dict(declared))
    _write_meta(folder, table, prepared, names, matrix.tobytes())


def _fill(archive: Archive, rows: pd.DataFrame, *, prepared: PreparedImages, folder: Path, max_pixels: int) -> None:
    """Write the rows to the arrays' places that their index says."""
    for first in range(0, len(rows), _FLUSH):
        inputs = open_memmap(folder / "inputs.npy", "r+")
        masks = open_memmap(folder / "masks.npy", "r+") if prepared.mask_values is not None else None
        for place, path, sha256, mask_path, mask_sha256 in rows[first : first + _FLUSH].itertuples(name=None):
            inputs[place] = to_array(read_image(archive, path, sha256, max_pixels, prepared.decoding), prepared)
            if masks is not None:
                mask = read_mask(archive, mask_path, mask_sha256, max_pixels, prepared.decoding)
                masks[place] = mask_to_array(mask, prepared)


def read_image(archive: Archive, path: str, sha256: str, max_pixels: int, decoding: Decoding) -> Image.Image:
    """An image of the archive. Raises InputError where its bytes are not those of `sha256` (`digest`)."""
    data = archive.read(path, limit=most_bytes(path, max_pixels, decoding))
    _check_unchanged(archive, path, digest(data, path), sha256)
    return decode(data, name=path, max_pixels=max_pixels, decoding=decoding)


def read_mask(archive: Archive, path: str, sha256: str, max_pixels: int, decoding: Decoding) -> Mask:
    """A mask of the archive. Raises InputError as `read_image`."""
    files = mask_files.read(archive, path, max_pixels, decoding)
    _check_unchanged(archive, path, mask_files.digest(files), sha256)
    return mask_files.decode(files, max_pixels, decoding)


def _check_unchanged(archive: Archive, path: str, found: str, sha256: str) -> None:
    if found != sha256:
        raise InputError(f"{archive.path}: {path} has changed since ingest; run `dvc repro` from ingest on")


def _write_meta(
    folder: Path,
    table: pd.DataFrame,
    variant: PreparedImages | PreparedTable,
    names: list[str],
    source: bytes,
    volumes: dict[str, list] | None = None,
) -> None:
    meta: dict[str, Any] = {"ids": table["id"].tolist(), "variant": variant.model_dump(mode="json"), "features": names}
    meta |= {"digest": hashlib.sha256(source).hexdigest()}  # of what the rows were read from
    meta |= {} if volumes is None else {"volumes": volumes}
    (folder / "meta.json").write_text(json.dumps(meta))
