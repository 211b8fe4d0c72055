"""A folder a class, as people nest them: `<archive>/train/melanoma/part 2/a.jpg`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import pandas as pd

from medpipe.data.archive import Archive
from medpipe.data.rows import Problem, Rows, without_copies
from medpipe.data.tables import grouped, ids_of, without_ending
from medpipe.errors import InputError
from medpipe.params import Declaration, Folders

SETS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


def read_rows(archive: Archive, task: Declaration) -> Rows:
    """A row an image whose path has one class among its folders, by name in any case.

    Images of other folders are problems, of two classes at once too. Raises InputError for an archive without images of
    a declared class.
    """
    assert isinstance(task.reader, Folders)
    rows: list[tuple[str, str, str, str]] = []
    problems: list[Problem] = []
    other: Counter[str] = Counter()
    for path in archive.images():
        folders = path.replace("!/", "/").split("/")[:-1]
        named = classes_of(path, task.classes, task.reader.codes)
        labels = set(named.values())
        if len(labels) == 1:
            rows.append((path, labels.pop(), [*named][-1], _set(folders)))
        else:
            other["/".join(folders)] += 1
            reason = "no folder of a class" if not labels else f"folders of {' and '.join(sorted(labels))}"
            problems.append(Problem(without_ending(path), path, f"{reason}: one of {', '.join(task.classes)} wanted"))
    if not rows:
        seen = ", ".join(f"{name or '.'} ({count})" for name, count in other.most_common(5))
        raise InputError(
            f"{archive.path}: no image lies in a folder of a class, {', '.join(task.classes)}; there are images in: "
            f"{seen or '; '.join(['none', *archive.others()])}. Name the folders under classes, or under reader.codes"
        )
    table = pd.DataFrame(rows, columns=["path", "label", "folder", "set"])
    # A folder that was copied into another holds every image twice: the same bytes under the same name below its class.
    below = [_below(path, folder) for path, folder in zip(table["path"], table["folder"], strict=True)]
    place = table["label"] + "/" + table["set"] + "/" + below
    twice = place.duplicated(keep=False)
    key = dict(zip(table.loc[twice, "path"], place[twice], strict=True))
    shallowest = sorted(key, key=lambda path: path.count("/"))
    table = table[~twice | table["path"].isin(without_copies(archive, shallowest, key.__getitem__))]
    table = table.assign(id=ids_of(table["path"]))
    notes = _notes(table, task.reader)
    if task.reader.sets == "ignore":
        table = table.drop(columns="set")
    table, said = grouped(archive, table.drop(columns="folder"), task.reader.group)
    return Rows(table.assign(source="unknown", mask_path=""), problems, (*notes, *said))


def classes_of(path: str, classes: Sequence[str], codes: Mapping[str, str]) -> dict[str, str]:
    """The folders of a path that are called as a class, or as a code of one, by name in any case, and that class."""
    known = {_folded(name): name for name in classes} | {_folded(code): name for code, name in codes.items()}
    folders = path.replace("!/", "/").split("/")[:-1]
    return {folder: known[_folded(folder)] for folder in folders if _folded(folder) in known}


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _set(folders: list[str]) -> str:
    return next((SETS[_folded(folder)] for folder in folders if _folded(folder) in SETS), "")


def _below(path: str, folder: str) -> str:
    """The path below the last folder of that name, without ending."""
    parts = path.split("/")
    place = len(parts) - 1 - parts[::-1].index(folder)
    return without_ending(str(PurePosixPath(*parts[place + 1 :])))


def _notes(table: pd.DataFrame, reader: Folders) -> tuple[str, ...]:
    notes = []
    if (table["set"] != "").any() and reader.sets == "ignore":
        counts = ", ".join(f"{name} {n}" for name, n in table.loc[table["set"] != "", "set"].value_counts().items())
        notes.append(f"folders of sets ({counts}) are ignored: rows are dealt anew (reader.sets)")
    spellings = table.groupby("label")["folder"].unique()
    notes += [
        f"class {label}: folders {', '.join(map(repr, sorted(names)))} are taken for one"
        for label, names in spellings.items()
        if len(names) > 1
    ]
    return tuple(notes)
