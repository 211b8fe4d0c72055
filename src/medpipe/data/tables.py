"""A table of an archive, whatever program wrote it, and the files that its rows name."""

import re
import unicodedata
from collections.abc import Iterable
from io import BytesIO
from pathlib import PurePosixPath

import pandas as pd

from medpipe.data.archive import Archive
from medpipe.data.missing import is_missing
from medpipe.data.rows import TABLE, Problem, read_table
from medpipe.data.workbook import read_workbook
from medpipe.errors import InputError
from medpipe.params import Column, Pattern

GroupOf = Pattern | Column | str | None

TABLES = (".csv", ".tsv", ".tab", ".txt", ".xlsx", ".parquet")


def read_any(archive: Archive, name: str, columns: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """A CSV, TSV, Excel or Parquet file as stripped strings, '' for what is missing, and notes on what was passed over.

    A header that stands again among the rows is left out. Raises InputError that names the file where it cannot be
    read, is too large, or lacks one of `columns`.
    """
    if name.lower().endswith(".xlsx"):
        table = read_workbook(archive, name, ())
    elif name.lower().endswith(".parquet"):
        table = _read_parquet(archive, name)
    else:
        table = read_table(archive, name, ())
    if missing := [column for column in columns if column not in table]:
        raise InputError(f"{name}: lacks the column {', '.join(missing)}; it has {', '.join(table.columns)}")
    again = (table == list(table.columns)).all(axis=1)
    notes = [f"{name}: its header stands again in {again.sum()} rows, which were passed over"] if again.any() else []
    return table[~again].reset_index(drop=True), notes


def _read_parquet(archive: Archive, name: str) -> pd.DataFrame:
    data = archive.read(name, limit=TABLE)
    try:
        table = pd.read_parquet(BytesIO(data))
    except Exception as error:  # pyarrow's many
        raise InputError(f"{name}: no readable Parquet file ({error}); write it again") from None
    table.columns = table.columns.map(str)
    return table.apply(lambda column: column.map(_text).str.strip().mask(is_missing(column), ""))


def _text(value: object) -> str:
    """Whole numbers without a point, for a column of numbers becomes one of floats where a value is missing."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class Files:
    """Images by the names that people give them in tables: with or without folder or ending, in any case.

    Umlauts may be written as one character or as two, folders be parted by `\\`.
    """

    def __init__(self, names: Iterable[str], folder: str) -> None:
        self._found: dict[str, list[str]] = {}
        start = _plain(folder).strip("/")
        for name in names:
            path = _plain(name)
            keys = {path, path.removeprefix(f"{start}/"), PurePosixPath(path).name}
            for key in keys | {without_ending(key) for key in keys}:
                self._found.setdefault(key, []).append(name)

    def find(self, named: str) -> list[str]:
        """The files that a row may mean: none, one, or several of that name."""
        return self._found.get(_plain(named).strip("/"), [])


def without_ending(path: str) -> str:
    """Without `.png` and the like; `.nii.gz` is one ending, and a point within a name none."""
    return re.sub(r"\.(nii\.gz|[a-z]{3,4})$", "", path, flags=re.IGNORECASE)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./").casefold()


def unique_ids(paths: pd.Series) -> pd.Series:
    """The files' names without folder and ending; of several of one name their paths without ending."""
    whole = paths.map(without_ending)
    names = whole.str.rpartition("/")[2]
    return names.where(~names.duplicated(keep=False), whole)


def folded(values: pd.Series) -> pd.Series:
    """What one name is under several spellings: in lower case, blanks as one, none around."""
    return values.str.strip().str.replace(r"\s+", " ", regex=True).str.casefold()


def one_spelling(values: pd.Series, what: str) -> tuple[pd.Series, list[str]]:
    """Each value as it is first spelt, where others differ from it in case or blanks alone; and a note on those."""
    values = values.str.strip()
    first = values.groupby(folded(values)).transform("first")
    others = sorted(set(values[values != first]))
    said = f"{what}: {', '.join(repr(v) for v in others[:5])} taken for another spelling of a name that is there"
    return first, [said] if others else []


def grouped(table: pd.DataFrame, group: GroupOf) -> tuple[pd.DataFrame, list[Problem]]:
    """With the `group` that a pattern finds in each path, spelt alike; each image its own where there is none."""
    if not isinstance(group, Pattern):
        return table.assign(group=table["id"]), []
    found = table["path"].str.extract(re.compile(group.pattern), expand=False)
    problems = [
        Problem(i, path, f"no group: the path does not match reader.group.pattern, {group.pattern!r}")
        for i, path in table.loc[found.isna(), ["id", "path"]].itertuples(index=False)
    ]
    return table[found.notna()].assign(group=one_spelling(found.dropna(), "")[0]), problems
