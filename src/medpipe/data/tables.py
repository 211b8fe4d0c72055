"""A table of an archive, whatever program wrote it, and the files that its rows name."""

import functools
import math
import re
import unicodedata
from collections.abc import Iterable
from io import BytesIO
from itertools import accumulate

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medpipe.data.archive import Archive
from medpipe.data.missing import blanked
from medpipe.data.rows import TABLE, read_table
from medpipe.data.workbook import read_workbook
from medpipe.errors import InputError
from medpipe.params import Column, Lookup, Pattern

GroupOf = Pattern | Column | Lookup | str | None

TABLES = (".csv", ".tsv", ".tab", ".txt", ".xlsx", ".parquet")


def read_any(archive: Archive, name: str, columns: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """A CSV, TSV, Excel or Parquet file as stripped strings, '' for what is empty, and notes on what was passed over.

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
        # Types that hold missing values too: as floats, whole numbers of 17 digits would lose the last ones.
        table = pd.read_parquet(BytesIO(data), dtype_backend="numpy_nullable")
    except Exception as error:  # pyarrow's many
        raise InputError(f"{name}: no readable Parquet file ({error}); write it again") from None
    table.columns = table.columns.map(str)
    return table.astype(object).map(_text)


def _text(value: object) -> str:
    """Whole numbers without a point, for who wrote the file may have held them as floats where a value is missing."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


class Files:
    """Images by the names that people give them in tables: with or without ending or some of the folders, in any case.

    Umlauts may be written as one character or as two, folders be parted by `\\`.
    """

    def __init__(self, names: Iterable[str], folder: str) -> None:
        self._whole: dict[str, list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        start = _plain(folder).strip("/")
        for name in names:
            path = _plain(name)
            _, *ends = accumulate(reversed(path.split("/")), lambda below, above: f"{above}/{below}", initial="")
            ends = [end.removesuffix("/") for end in ends]
            for found, keys in ((self._whole, {path, path.removeprefix(f"{start}/")}), (self._ends, {*ends})):
                for key in keys | {without_ending(key) for key in keys}:
                    found.setdefault(key, []).append(name)

    def find(self, named: str) -> list[str]:
        """The files that a row may mean: none, one, or several of that name."""
        key = _plain(named).strip("/")
        return self._whole.get(key) or self._ends.get(key, [])


def without_ending(path: str) -> str:
    """Without `.png` and the like; `.nii.gz` is one ending, and a point within a name none."""
    return re.sub(r"\.(nii\.gz|dicom|[a-z]{3,4})$", "", path, flags=re.IGNORECASE)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./").casefold()


def ids_of(paths: pd.Series) -> pd.Series:
    """The files' whole paths without ending; with it where that is what tells two files apart."""
    names = paths.drop_duplicates()
    whole = names.map(without_ending)
    ids = whole.where(~whole.duplicated(keep=False), names)
    return paths.map(dict(zip(names, ids if ids.is_unique else names, strict=True)))


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


def grouped(archive: Archive, table: pd.DataFrame, group: GroupOf) -> tuple[pd.DataFrame, list[str]]:
    """With the `group` that a pattern finds in each path, or another table says of it, spelt alike, '' where there is
    none; and notes. Raises InputError for a table that is not there, cannot be read or lacks a column."""
    match group:
        case Pattern(pattern=pattern):
            found = first_known(table["path"].str.extract(re.compile(pattern)))
            return table.assign(group=one_spelling(found, "")[0]), []
        case Lookup(file=file, image=image):
            if file not in archive.names():
                raise InputError(f"{archive.path}: has no {file!r}, which reader.group.file names")
            listed, notes = read_any(archive, file, [image, *group.names])
            files = Files(table["path"], "")
            meant = listed[image].map(files.find)
            listed = listed[[*group.names]].apply(blanked).assign(path=meant.str[0].where(meant.str.len() == 1, ""))
            listed = listed[(listed["path"] != "") & (listed[[*group.names]] != "").any(axis=1)]
            keys, said = spelt_keys(listed, (*group.names, "path"))  # of one listed twice the groups are one
            of = dict(zip(listed["path"], tied(keys), strict=True))
            return table.assign(group=table["path"].map(of).fillna("")), notes + said
    return table.assign(group=""), []


def spelt_keys(table: pd.DataFrame, columns: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """These columns of patients and lesions, each name in one spelling, and notes on others."""
    spelt = {column: one_spelling(table[column], column) for column in columns}
    return pd.DataFrame({c: values for c, (values, _) in spelt.items()}), [
        n for _, said in spelt.values() for n in said
    ]


def tied(keys: pd.DataFrame) -> pd.Series:
    """The group of each row of `keys` (a column a key, '' where it is unknown); '' where no key is known.

    Rows that share a value of a column, over any number of steps, are of one group. Its name is the first of its values
    in the first column that has one, behind the column's name where that is not the first of all.
    """
    ends, place = [], len(keys)
    for column in keys:
        codes, values = pd.factorize(keys[column])
        known = np.flatnonzero(keys[column] != "")
        ends.append(np.stack([known, place + codes[known]]))
        place += len(values)
    row, value = np.concatenate(ends, axis=1)
    _, component = connected_components(coo_array((np.ones(len(row)), (row, value)), shape=(place, place)), False)
    names = pd.DataFrame({c: (f"{c} " if i else "") + keys[c].where(keys[c] != "") for i, c in enumerate(keys)})
    return first_known(names.groupby(component[: len(keys)]).transform("min"))


def first_known(table: pd.DataFrame) -> pd.Series:
    """Of each row the first text that is not missing, '' where there is none."""
    columns = (table[column] for column in table)
    return functools.reduce(lambda first, other: first.where(first.notna(), other), columns).fillna("")
