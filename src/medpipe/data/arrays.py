"""What prepare wrote, memory mapped, and the split's rows beside it."""

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.format import open_memmap

from medpipe.data.vocabulary import merged_classes
from medpipe.errors import InputError

_MIB = 1 << 20


class Arrays:
    """A prepared folder, read-only and memory mapped.

    - inputs: (n, h, w, 3) uint8, or (n, features) float32 with NaN for unknown
    - masks: (n, h, w) uint8 in {0, ..., k}, places from 1 in `marks`, 0 for none of these; or None
    - marks: the k names of what masks mark; () without masks
    - ids: n ids, a row each; variant: the settings as used; features: the columns' names, [] for images
    - volumes: of each row the columns of VOLUME, mm being those of the arrays' pixels; None where not all rows are
      slices of volumes
    - name: the variant's; digest: SHA-256 over those of the images and masks, or over the table, behind the rows

    Raises InputError where the folder is no whole one.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        try:
            meta = json.loads((folder / "meta.json").read_text())
            self.inputs: npt.NDArray = np.load(folder / "inputs.npy", mmap_mode="r")
            masks = folder / "masks.npy"
            self.masks: npt.NDArray[np.uint8] | None = np.load(masks, mmap_mode="r") if masks.exists() else None
            self.ids: list[str] = meta["ids"]
            self.variant: dict = meta["variant"]
            self.marks = tuple(self.variant.get("mask_values") or ())
            self.features: list[str] = meta["features"]
            self.digest: str = meta["digest"]
            self.volumes = pd.DataFrame(meta["volumes"]) if "volumes" in meta else None
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder}: no whole prepared folder ({error}); run `dvc repro prepare`") from None
        for array in (self.inputs, self.masks):
            if array is not None and len(array) != len(self.ids):
                raise InputError(f"{folder}: {len(array)} rows for {len(self.ids)} ids; run `dvc repro prepare`")


@dataclass(frozen=True)
class Dealt:
    """What split recorded of the task whose rows it dealt: its classes, and the columns of its rows that are subgroups.

    Who reads rows reads this beside them, and needs no declaration.
    """

    classes: tuple[str, ...]
    subgroups: tuple[str, ...]

    @classmethod
    def read(cls, split_folder: Path) -> "Dealt":
        """Raises InputError where the folder is of an earlier version, or no split's."""
        path = split_folder / "task.json"
        try:
            values = json.loads(path.read_text())
            return cls(tuple(values["classes"]), tuple(values["subgroups"]))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: cannot be read ({error}); run `dvc repro split`") from None


def reserve(shapes: Mapping[Path, tuple[int, ...]], kind: npt.DTypeLike) -> None:
    """Make files of arrays of zeros that have all of their room on the disk.

    A mapped file whose disk fills up ends the process that writes to it (SIGBUS). Raises InputError that says how much
    room is needed and there.
    """
    needed = np.dtype(kind).itemsize * sum(math.prod(shape) for shape in shapes.values())
    for path, shape in shapes.items():
        free = shutil.disk_usage(path.parent).free
        try:
            open_memmap(path, "w+", kind, shape)
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            listed = " and ".join(path.name for path in shapes)
            raise InputError(
                f"{path.parent}: no room for {listed}: {needed / _MIB:.1f} MiB needed, {free / _MIB:.1f} MiB free "
                f"({error.strerror}); free some, or ask for smaller images"
            ) from None


def load_task(split_folder: Path, prepared_folders: Sequence[Path]) -> tuple[pd.DataFrame, list[Arrays]]:
    """The split's rows and the prepared arrays, the same ids row by row. Raises InputError where they are not."""
    rows = pd.read_parquet(split_folder / "rows.parquet")
    prepared = [Arrays(folder) for folder in prepared_folders]
    for folder, arrays in zip(prepared_folders, prepared, strict=True):
        if arrays.ids != rows["id"].tolist():
            differ = sorted(set(arrays.ids) ^ set(rows["id"])) or ["the order"]
            raise InputError(
                f"{folder}: made from other rows than {split_folder} ({len(differ)} differ, first {differ[0]}); "
                f"run `dvc repro` for both"
            )
    return rows, prepared


def targets(rows: pd.DataFrame, classes: Sequence[str], merge: Mapping[str, Sequence[str]]) -> npt.NDArray[np.int64]:
    """(n,) the place of each row's label in `merged_classes`. Raises InputError that names the row's unknown label."""
    place = {name: index for index, name in enumerate(merged_classes(classes, merge))}
    place |= {old: place[new] for new, olds in merge.items() for old in olds}
    unknown = rows[~rows["label"].isin([*classes])]
    if len(unknown):
        row = unknown.iloc[0]
        raise InputError(f"{row['id']}: label {row['label']!r} is none of {', '.join(classes)}")
    return np.array([place[label] for label in rows["label"]], np.int64)


def channel_statistics(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> dict[str, list[float]]:
    """`mean` and `std` of each channel over all pixels of the rows of `images`, (n, h, w, 3) in [0, 255]."""
    total, squares = np.zeros(3), np.zeros(3)
    for row in rows:
        mean, std = (values.ravel() for values in cv2.meanStdDev(np.asarray(images[row])))
        total, squares = total + mean, squares + std**2 + mean**2
    mean = total / len(rows)
    return {"mean": mean.tolist(), "std": np.sqrt(squares / len(rows) - mean**2).tolist()}
