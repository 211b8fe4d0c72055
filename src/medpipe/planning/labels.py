"""Which column of a table is the label: chosen where that is clear, else asked for."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

import pandas as pd

from medpipe.data.missing import is_missing
from medpipe.data.tables import folded
from medpipe.errors import InputError
from medpipe.planning.columns import kinds, one_hot
from medpipe.planning.groups import called
from medpipe.planning.levels import MOST_CLASSES

LABELS = (
    "label", "labels", "class", "diagnosis", "diagnostic", "dx", "target", "category", "finding", "findings",
    "finding_label", "finding_labels", "outcome", "grade", "type", "level", "severity", "pathology",
)  # fmt: skip
# Words in the names of columns that say who was imaged, when and how, or count, and no diagnosis.
_ABOUT = frozenset(
    [
        "age",
        "sex",
        "gender",
        "male",
        "female",
        "race",
        "ethnicity",
        "ethnic",
        "view",
        "position",
        "projection",
        "laterality",
        "eye",
        "side",
        "date",
        "year",
        "time",
        "index",
        "idx",
        "id",
        "uid",
        "number",
        "no",
        "nr",
        "follow",
        "up",
        "width",
        "height",
        "spacing",
        "pixel",
        "weight",
        "url",
        "path",
        "file",
        "name",
        "split",
        "fold",
        "set",
        "unnamed",
    ]
)
_MOST_NUMBERS = 10  # different numbers, above which a column is a measurement and no grade
_SHOWN = 6  # values, or columns, of a message
_PARTS = re.compile(r"\s*[|;]\s*|,\s*")


class Candidate(NamedTuple):
    """A column that may be the label: `classes`, `several` findings in a cell, or a `number`."""

    name: str
    kind: Literal["classes", "several", "number"]
    counts: pd.Series  # of its values, of `several` of the findings

    def __str__(self) -> str:
        if self.kind == "number":
            return f"{self.name} ({len(self.counts)} different numbers)"
        shown = ", ".join(f"{value} {count}" for value, count in self.counts[:_SHOWN].items())
        more = f" and {len(self.counts) - _SHOWN} more" if len(self.counts) > _SHOWN else ""
        return f"{self.name} ({'several a cell: ' if self.kind == 'several' else ''}{shown}{more})"


def choose_label(table: pd.DataFrame, file: str, used: Iterable[str], asked: str | None) -> str | list[str] | None:
    """The column of classes, or those of 0 and 1 of which each row has one; None where no column can be the label.

    `used` columns mean something else. Raises InputError that lists the columns with their values where several can be
    the label, and where the one that must be it holds several findings or numbers, of which no task can be made.
    """
    free = [str(column) for column in table if column not in {*used}]
    if asked is not None:
        return _asked(table, file, asked)
    found = {name: one for name in free if (one := _candidate(table[name], name)) is not None}
    named = [found[name] for name in called(table[free], LABELS) if name in found]
    if not named and (hot := one_hot(table[free])):
        return hot
    flags = [name for name in free if table[name].isin(["0", "1", "0.0", "1.0", ""]).all() and not _is_about(name)]
    if not named and len(flags) > 2:
        counts = table[flags].apply(pd.to_numeric).sum().sort_values(ascending=False)
        some = ", ".join(f"{name} {count:.0f}" for name, count in counts[:_SHOWN].items())
        raise InputError(
            f"{file}: a row has several findings, a column each: {some}. A task has one class an image: say "
            "LABEL=<column> for whether an image has that one"
        )
    possible = named or [one for name, one in found.items() if not _is_about(name)]
    if len(possible) == 1 and possible[0].kind == "classes":
        return possible[0].name
    if possible:
        _check(possible[0], file) if len(possible) == 1 else None
        raise InputError(
            f"{file}: which column is the label? Say LABEL=<column>, one of: {'; '.join(map(str, possible[:_SHOWN]))}"
        )
    return None


def _asked(table: pd.DataFrame, file: str, asked: str) -> str | list[str]:
    columns = [name.strip() for name in asked.split(",")] if asked not in table else [asked]
    if missing := [name for name in columns if name not in table]:
        raise InputError(f"LABEL={asked}: {file} has no column {missing[0]!r}; it has {', '.join(map(str, table))}")
    if len(columns) > 1:
        if sorted(one_hot(table[columns])) != sorted(columns):
            raise InputError(f"LABEL={asked}: columns of 0 and 1 wanted, of which each row has one")
        return columns
    candidate = _candidate(table[asked], asked)
    if candidate is None:
        raise InputError(f"LABEL={asked}: 2 to {MOST_CLASSES} classes wanted; it has {kinds(table[asked])} values")
    _check(candidate, file)
    return asked


def _check(candidate: Candidate, file: str) -> None:
    if candidate.kind == "several":
        raise InputError(
            f"{file}: cells of {candidate} hold several findings. A task has one class an image: add a column that "
            "says whether an image has one of them, and name it by LABEL="
        )
    if candidate.kind == "number":
        raise InputError(
            f"{file}: {candidate} holds numbers. A task has classes: add a column of ranges, and name it by LABEL="
        )


def _candidate(values: pd.Series, name: str) -> Candidate | None:
    values = values[values != ""]
    if values.empty:
        return None
    known = values[~is_missing(values)]
    parts = known.map(_PARTS.split)
    alone = {piece for pieces in parts if len(pieces) == 1 for piece in pieces}
    several = parts[parts.map(len) > 1]
    pieces = several.explode()
    if len(several) and (pieces.isin(alone).mean() > 0.5 or known.str.contains("|", regex=False).any()):
        return Candidate(name, "several", parts.explode().value_counts())
    if kinds(values) > _MOST_NUMBERS and pd.to_numeric(known, errors="coerce").notna().mean() > 0.95:
        return Candidate(name, "number", known.value_counts())
    if 2 <= kinds(values) <= MOST_CLASSES:
        return Candidate(name, "classes", values.groupby(folded(values)).size().sort_values(ascending=False))
    return None


def _is_about(name: str) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    return bool(_ABOUT.intersection(words)) or not words
