"""Files of several images, and what only a medical file's header tells: rows become rows of their images."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from medpipe.data import dicom, frames, images, mask_files, nifti
from medpipe.data.archive import Archive
from medpipe.data.chunks import in_chunks
from medpipe.data.grid import Grid, difference
from medpipe.data.rows import Problem, Rows
from medpipe.data.vocabulary import VOLUME
from medpipe.errors import Unreadable
from medpipe.params import Declaration, Decoding

_PLAIN = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")  # such files hold one image, and no patient

_Row = dict[Any, Any]


class _Opened(NamedTuple):
    rows: dict[int, list[_Row]]  # of each file's images, by the number of the file's row
    problems: list[Problem]
    burned: int  # DICOM files with annotations in their pixels


def parted_rows(archive: Archive, rows: Rows, task: Declaration, max_pixels: int) -> Rows:
    """A row an image: of a DICOM file or TIFF of several frames one each where they are split, of a NIfTI volume one a
    slice, with the mask's slice. Their ids end in `-<number>`.

    Where the reader says so the group becomes the DICOM file's patient or study, and no other file has one. `grouped`
    says which rows have a group; of the others the file is one. Slices have the columns of VOLUME. A file that cannot
    be read is a problem, as is a mask of another number of images, or one that lies on other voxels than its image.
    """
    table = rows.table.reset_index(drop=True)
    files = set(archive.names())  # a row of a pixel table is none of them
    opens = table["path"].isin(files) & ~table["path"].str.lower().str.endswith(_PLAIN)
    parts = in_chunks(archive, table[opens], partial(_opened, task=task, max_pixels=max_pixels), "open files")
    made = {place: [_grouped(row, row["group"])] for place, row in _numbered(table[~opens])}
    for part in parts:
        made |= part.rows
    columns = [*table, "grouped", *(() if task.decoding.axis is None else VOLUME)]
    found = pd.DataFrame([row for place in sorted(made) for row in made[place]], columns=columns)
    problems = [*rows.problems, *(problem for part in parts for problem in part.problems)]
    burned = sum(part.burned for part in parts)
    said = (
        [f"annotations are burned into {burned} DICOM files, by their headers: a model may read them"] if burned else []
    )
    return replace(rows, table=found, problems=problems, notes=(*rows.notes, *said))


def _numbered(table: pd.DataFrame) -> Iterator[tuple[int, _Row]]:
    return zip(table.index.tolist(), table.to_dict("records"), strict=True)


def _grouped(row: _Row, group: str) -> _Row:
    return row | {"group": group or row["id"], "grouped": group != ""}


def _opened(archive: Archive, rows: pd.DataFrame, *, task: Declaration, max_pixels: int) -> _Opened:
    made: dict[int, list[_Row]] = {}
    problems, burned = [], 0
    for number, row in _numbered(rows):
        path, group = row["path"], row["group"]
        try:
            data = archive.read(path, limit=images.most_bytes(path, max_pixels, task.decoding))
            names = images.names(data, name=path, max_pixels=max_pixels, decoding=task.decoding)
            if dicom.is_dicom(data):
                header = dicom.header(data, name=path)
                burned += header.burned_in is True
                if task.reader.group in ("dicom", "study"):
                    group = header.patient if task.reader.group == "dicom" else header.study
            masks = _mask_names(archive, row["mask_path"], path, data, len(names), task.decoding, max_pixels)
        except Unreadable as error:
            problems.append(Problem(row["id"], error.name, error.reason))
            continue
        made[number] = []
        lies = nifti.spacing(data, name=path, decoding=task.decoding) if nifti.is_nifti(data) else None
        for name, mask_name in zip(names, masks, strict=True):
            place = frames.parted(name)[1] if len(names) > 1 else None
            own = {"path": name, "mask_path": mask_name}
            # A file's images are of one group, which is the file where none is known.
            known = _grouped(row, group) | own
            if lies is not None:
                known |= dict(zip(VOLUME, (path, place or 0, *lies), strict=True))
            made[number].append(known if place is None else known | {"id": f"{row['id']}-{place}"})
    return _Opened(made, problems, burned)


def _mask_names(
    archive: Archive, mask_path: str, path: str, data: bytes, count: int, decoding: Decoding, max_pixels: int
) -> list[str]:
    """The mask of each of the image's `count` slices or frames; '' where there is none."""
    parts = []
    for name, mask in mask_files.read(archive, mask_path, max_pixels, decoding):
        parts.append(images.names(mask, name=name, max_pixels=max_pixels, decoding=decoding))
        _check_grids(path, data, name, mask, decoding)
        if len(parts[-1]) != count:
            raise Unreadable(name, f"mask slices: {len(parts[-1])}, the image has {count}")
    return [mask_files.joined(part) for part in zip(*parts, strict=True)] or [""] * count


def _check_grids(path: str, data: bytes, mask_path: str, mask: bytes, decoding: Decoding) -> None:
    """Raises Unreadable where the files of an image and its mask say that the two lie on different voxels."""
    own: Sequence[Grid | None]
    other: Sequence[Grid | None]
    if nifti.is_nifti(data) and nifti.is_nifti(mask):
        both = ((mask, mask_path), (data, path))
        own, other = ([nifti.grid(file, name=name, decoding=decoding)] for file, name in both)
    elif dicom.is_dicom(data) and dicom.is_dicom(mask):
        own, other = dicom.grids(mask, name=mask_path), dicom.grids(data, name=path)
    else:
        return
    for place, (one, against) in enumerate(zip(own, other, strict=False)):  # of as many frames, which names tell
        if said := one and against and difference(one, against):
            where = f" of frame {place}" if len(own) > 1 else ""
            raise Unreadable(mask_path, f"mask beside its image: {path} has another grid{where}: {said}")
