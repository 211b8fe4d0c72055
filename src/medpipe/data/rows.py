"""The rows that an archive lists: its tables of text, the files that go with them, and what goes to quarantine."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

import pandas as pd

from medpipe.data.archive import Archive, separator_of
from medpipe.errors import InputError, Unreadable

# The most bytes that are read of a table, which takes many times as much memory. HAM10000's metadata have 0.6 MB.
TABLE = 32 << 20


ROWLESS = "image without row"  # the reason of an image that no table of the archive names


class Problem(NamedTuple):
    """What goes to quarantine: `reason` is `kind` or `kind: detail`; `path` is '' where there is no file."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class Rows:
    """What an archive lists: a row an image (id, path, label, group, source, mask_path, metadata), and the rest.

    - notes: what was passed over of a table that is at odds with itself or with the files
    - sources: those of which the archive may hold no row
    """

    table: pd.DataFrame
    problems: list[Problem]
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


def distinct(archive: Archive, names: Iterable[str], key: Callable[[str], str]) -> tuple[dict[str, str], list[Problem]]:
    """One file a key. Copies with the same bytes are passed over (some archives ship a folder twice); files that
    share a key and differ are all problems. Raises Unreadable for a table that cannot be read."""
    copies: dict[str, list[str]] = {}
    for name in names:
        copies.setdefault(key(name), []).append(name)
    found, problems = {}, []
    for file, (first, *others) in copies.items():
        reason = "files that differ"
        try:
            alike = all(archive.same(first, other) for other in others)
        except Unreadable as error:
            if not archive.is_image(error.name):
                raise
            alike, reason = False, str(error)
        if alike:
            found[file] = first
        else:
            problems += [Problem(file, name, f"duplicate id: {reason}") for name in (first, *others)]
    return found, problems


def without_copies(archive: Archive, names: Iterable[str], key: Callable[[str], str]) -> list[str]:
    """`names` without the files that have key and bytes of one before them; what cannot be read is no copy."""
    kept: list[str] = []
    likely: dict[tuple[str, int, bytes], list[str]] = {}
    for name in names:
        try:
            alike = likely.setdefault((key(name), *archive.beginning(name)), [])
            if any(archive.same(name, other) for other in alike):
                continue
            alike.append(name)
        except Unreadable:  # ingest says so
            pass
        kept.append(name)
    return kept


def read_table(archive: Archive, name: str, columns: Iterable[str]) -> pd.DataFrame:
    """A table of values parted by comma, semicolon or tab, as stripped strings.

    What is no UTF-8 or UTF-16 is taken for Latin-1, and behind semicolons 4,5 for 4.5. Raises InputError where it is no
    table, is of more than TABLE bytes, or lacks one of `columns`.
    """
    text = _decoded(archive.read(name, limit=TABLE))
    separator = separator_of(text.encode()).decode()
    try:
        table = pd.read_csv(StringIO(text), sep=separator, dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(f"{name}: no readable table ({str(error).strip()}); download it again") from None
    table.columns = table.columns.str.strip()
    if missing := [column for column in columns if column not in table]:
        raise InputError(f"{name}: lacks the column {', '.join(missing)}; it has {', '.join(table.columns)}")
    if separator == ";":
        table = table.replace(r"^\s*(-?\d+),(\d+)\s*$", r"\1.\2", regex=True)
    return table.apply(lambda column: column.str.strip())


def _decoded(data: bytes) -> str:
    for encoding in ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "latin-1"):
        with suppress(UnicodeDecodeError):
            return data.decode(encoding)
    raise AssertionError("any bytes are Latin-1")


def single_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """One row an `id`: a row without one is a problem, a repeated row, and all rows of an id where they differ."""
    nameless = table["id"] == ""
    problems = [Problem("", "", f"no id: row {number + 1} of the table") for number in table.index[nameless]]
    table = table[~nameless]
    repeated = table.duplicated()
    differ = table["id"].isin(table.loc[~repeated, "id"][table.loc[~repeated, "id"].duplicated()])
    problems += [Problem(str(i), "", "duplicate id: rows that differ") for i in table.loc[differ, "id"]]
    problems += [Problem(str(i), "", "duplicate id: the row again") for i in table.loc[repeated & ~differ, "id"]]
    return table[~repeated & ~differ], problems


def attach(table: pd.DataFrame, files: dict[str, str], known: Iterable[Problem]) -> tuple[pd.DataFrame, list[Problem]]:
    """`table` with each row's file as `path`; rows and files without each other are problems, unless `known`."""
    done = {problem.id for problem in known}
    lost = ~table["id"].isin(files)
    problems = [Problem(str(i), "", "row without image") for i in table.loc[lost, "id"] if i not in done]
    rows = set(table["id"])
    problems += [Problem(i, p, ROWLESS) for i, p in files.items() if i not in rows and i not in done]
    table = table[~lost]
    return table.assign(path=table["id"].map(files)), problems
