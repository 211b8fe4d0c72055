"""A table whose rows name images: CSV, TSV, Excel or Parquet."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medpipe.data.archive import Archive
from medpipe.data.features import UNKNOWN
from medpipe.data.missing import blanked
from medpipe.data.readers.folders import classes_of
from medpipe.data.rows import ROWLESS, Problem, Rows, single_rows
from medpipe.data.tables import (
    Files,
    folded,
    grouped,
    ids_of,
    one_spelling,
    read_any,
    spelt_keys,
    tied,
    without_ending,
)
from medpipe.errors import InputError
from medpipe.params import Category, Column, Declaration, Table


def read_rows(archive: Archive, task: Declaration) -> Rows:
    """A row an image that the table names, with what its columns say; the id is the name there, without ending.

    Rows without image, images without row and names that several files have are problems. Raises InputError for a table
    that is not there, cannot be read or lacks a column.
    """
    reader = task.reader
    assert isinstance(reader, Table)
    hot = reader.label if isinstance(reader.label, Mapping) else {}
    named = dict.fromkeys((*task.features, *task.subgroups))
    own = {name: reader.columns.get(name, name) for name in named if name not in ("source", *task.bands)}
    keys = reader.group.names if isinstance(reader.group, Column) else ()
    wanted = [reader.image, *hot.values(), *own.values(), reader.mask, reader.source, reader.set, *keys]
    wanted += [reader.label] if isinstance(reader.label, str) else []
    if reader.file not in archive.names():
        raise InputError(f"{archive.path}: has no {reader.file!r}, which reader.file names")
    found, notes = read_any(archive, reader.file, [name for name in wanted if name is not None])
    file = blanked(found[reader.image])
    table = pd.DataFrame({"id": ids_of(file), "file": file})
    problems: list[Problem] = []
    if isinstance(reader.label, str):
        label, said = one_spelling(found[reader.label], "labels")
        table["label"], notes = _decoded(label, reader.codes, task), notes + said
    elif hot:
        table["label"], problems = _one_hot(table["id"], found, hot)
    else:
        table["label"] = ""
    for name, column in {"mask_path": reader.mask, "source": reader.source, "set": reader.set}.items():
        if column is not None:
            table[name] = blanked(found[column])
    if reader.source is not None:
        table["source"], said = one_spelling(table["source"].replace("", UNKNOWN), "source")
        notes += said
    for name, column in own.items():
        table[name] = found[column]
        if isinstance(task.features.get(name), Category):
            table[name], said = one_spelling(table[name], name)
            notes += said
    if keys:
        spelt, said = spelt_keys(found[[*keys]].apply(blanked), keys)
        table["group"], notes = tied(spelt), notes + said
    table = table[~table["id"].isin({problem.id for problem in problems})]
    table, repeated = single_rows(table)
    problems += repeated
    table, lost = _with_files(archive, table, task, reader, {problem.id for problem in problems})
    problems += lost
    defaults = {name: "" for name in ("mask_path",) if name not in table} | (
        {} if "source" in table else {"source": UNKNOWN}
    )
    table = table.drop(columns="file").assign(**defaults)
    if not keys:
        table, said = grouped(archive, table, reader.group)
        notes += said
    return Rows(table, problems, tuple(notes))


def _decoded(label: pd.Series, codes: Mapping[str, str], task: Declaration) -> pd.Series:
    """Each label's class, by `codes`, or by the class's own name in any case; others stay as they are."""
    known = {" ".join(name.split()).casefold(): name for name in task.classes}
    known |= {" ".join(code.split()).casefold(): name for code, name in codes.items()}
    return folded(label).map(known).fillna(label)


def _one_hot(ids: pd.Series, table: pd.DataFrame, columns: Mapping[str, str]) -> tuple[pd.Series, list[Problem]]:
    values = table[list(columns.values())].apply(pd.to_numeric, errors="coerce")
    single = values.isin([0, 1]).all(axis=1) & (values.sum(axis=1) == 1)
    problems = [Problem(i, "", "one-hot row: exactly one 1 among the classes wanted") for i in ids[~single]]
    return pd.Series(np.array(list(columns))[values.fillna(0).to_numpy().argmax(axis=1)], index=table.index), problems


def _with_files(
    archive: Archive, table: pd.DataFrame, task: Declaration, reader: Table, done: set[str]
) -> tuple[pd.DataFrame, list[Problem]]:
    """The rows whose image is there once, with its `path`, and where masks are named with that of the mask."""
    images = archive.images()
    files = Files(images, reader.images)
    wanted = {"path": ("image", "file")} | ({"mask_path": ("mask", "mask_path")} if reader.mask else {})
    named: dict[str, list[str]] = {key: table[column].tolist() for key, (_, column) in wanted.items()}
    found = {key: [_one(archive, files.find(name) if name else []) for name in named[key]] for key in wanted}
    reasons = [""] * len(table)
    for key, (what, _) in wanted.items():
        for i, (name, candidates) in enumerate(zip(named[key], found[key], strict=True)):
            if len(candidates) > 1:
                reasons[i] = f"several files of one name: {name!r} may be {' or '.join(candidates[:3])}"
            elif not candidates:
                reasons[i] = reasons[i] or f"row without {what}" + (f": {name!r}" if name else "")
    table = table.assign(
        **{key: [names[0] if names else "" for names in candidates] for key, candidates in found.items()}
    )
    folders = [set(classes_of(path, task.classes, reader.codes).values()) for path in table["path"]]
    if reader.label is None and reader.mask is None:
        table["label"] = [next(iter(labels)) if len(labels) == 1 else "" for labels in folders]
    for i, (label, labels) in enumerate(zip(table["label"], folders, strict=True)):
        if label and labels and label not in labels:
            said = f"two labels: {label} in the table, in the folder {' and '.join(sorted(labels))}"
            reasons[i] = reasons[i] or said
    listed = zip(table["id"], table["path"], reasons, strict=True)
    problems = [Problem(i, path, reason) for i, path, reason in listed if reason]
    taken = {name for candidates in found.values() for names in candidates for name in names}
    folder = f"{reader.images.strip('/')}/".lstrip("/")
    problems += [
        Problem(without_ending(name), name, ROWLESS)
        for name in images
        if name.startswith(folder) and name not in taken and without_ending(name) not in done
    ]
    return table[[not reason for reason in reasons]], problems


def _one(archive: Archive, names: list[str]) -> list[str]:
    """Of files with the same bytes the first: some archives ship a folder twice."""
    return names[:1] if all(archive.same(names[0], other) for other in names[1:]) else names
