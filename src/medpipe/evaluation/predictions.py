"""Prediction tables: checked, their classes merged, and as the arrays that metrics read.

A classifier's table has the columns id, set ('train', 'val', 'test', 'external'), group (lesion or patient), label (a
class name), `p_<class>` for each class (probabilities that add up to 1, as they are served), `temperature` (by which
they were tempered), then the subgroup columns. A segmenter's has tp, fp, fn (pixels) and hd95 (pixels, NaN where either
mask is empty) in place of probabilities and temperature, where masks mark several classes `tp:<class>` and so on for
each; a cascade's has both. Of slices of volumes `volume` names the file, and one of a volume's rows has its hd95 (mm).
What has an out-of-distribution score has it as `ood`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medpipe.errors import InputError
from medpipe.models.ood import COLUMN

KEYS = ("id", "set", "group", "label")
COUNTS = ("tp", "fp", "fn", "hd95")


@dataclass(frozen=True)
class Predictions:
    """Rows of one set, for n rows and k classes."""

    classes: tuple[str, ...]
    groups: np.ndarray  # (n,) str
    truth: np.ndarray  # (n,) int64, index into classes
    predicted: np.ndarray  # (n,) int64, index into classes
    probabilities: np.ndarray  # (n, k) float64, rows add up to 1


def listed(values: Iterable[object]) -> str:
    """The first five, for an error message."""
    words = [str(value) for value in values]
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")


def check(name: str, table: pd.DataFrame, classes: tuple[str, ...], columns: Iterable[str]) -> None:
    """InputError naming the model and the ids where the table lacks a column, repeats an id or has an unknown label."""
    if missing := [column for column in (*KEYS, *columns) if column not in table]:
        raise InputError(f"{name}: its predictions lack {listed(missing)}; run its evaluation again")
    if table.empty:
        raise InputError(f"{name}: its predictions have no row")
    if (repeated := table["id"].duplicated()).any():
        raise InputError(f"{name}: predicted more than once: {listed(table['id'][repeated].unique())}")
    if (unknown := ~table["label"].isin(classes)).any():
        rows = (f"{row.id} ({row.label})" for row in table[unknown].itertuples())
        raise InputError(f"{name}: label is none of {', '.join(classes)}: {listed(rows)}")


def marks(table: pd.DataFrame) -> list[str]:
    """How a segmenter's columns end: `:<class>` for each of several classes, the empty text for one."""
    return [c.removeprefix("tp") for c in map(str, table.columns) if c.split(":")[0] == "tp"] or [""]


def counts(table: pd.DataFrame) -> list[str]:
    """The columns that a segmenter's table has in place of probabilities."""
    return [f"{column}{mark}" for mark in marks(table) for column in COUNTS]


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """tp, fp and fn of each row, added up over the classes that masks mark."""
    return pd.DataFrame({c: table[[f"{c}{mark}" for mark in marks(table)]].sum(axis=1) for c in COUNTS[:3]})


def classified(name: str, table: pd.DataFrame, classes: tuple[str, ...]) -> Predictions:
    """A classifier's rows; the class predicted is the most probable one."""
    columns = [f"p_{c}" for c in classes]
    check(name, table, classes, columns)
    probabilities = table[columns].to_numpy(np.float64)  # (n, k)
    # `not` takes NaN for wrong, too.
    wrong = ~((np.abs(probabilities.sum(axis=1) - 1) <= 1e-3) & (probabilities >= 0).all(axis=1))
    if wrong.any():
        raise InputError(f"{name}: probabilities do not add up to 1: {listed(table['id'][wrong])}")
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    return _predictions(table, classes, probabilities.argmax(axis=1), probabilities)


def detected(name: str, table: pd.DataFrame, classes: tuple[str, ...]) -> Predictions:
    """A cascade's rows as a classifier's of (negative, positive): positive where the predicted mask is not empty."""
    check(name, table, classes, counts(table))
    mask = pooled(table)[["tp", "fp"]].to_numpy().any(axis=1)
    return replace(classified(name, table, classes), predicted=np.asarray(mask, np.int64))


def temperature_of(name: str, table: pd.DataFrame, classes: tuple[str, ...]) -> float:
    """The temperature of the table's probabilities."""
    check(name, table, classes, ["temperature"])
    return float(table["temperature"].iloc[0])


def same_rows(a: str, left: pd.DataFrame, b: str, right: pd.DataFrame) -> None:
    """InputError unless both tables, sorted by id, have the same ids, sets, labels and groups."""
    if apart := sorted(set(left["id"]) ^ set(right["id"])):
        raise InputError(f"{b} and {a} were not evaluated on the same rows: {listed(apart)}; evaluate both again")
    for column in ("set", "label", "group"):
        differs = left[column].astype(str).to_numpy() != right[column].astype(str).to_numpy()
        if differs.any():
            ids = listed(left["id"][differs])
            raise InputError(f"{b} and {a} have another {column} for {ids}; evaluate both again")


def common_validation(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The validation rows that all tables have: a cross-validated model has more of them than others. As `common`."""
    return common(tables, "val")


def common(tables: Mapping[str, pd.DataFrame], part: str) -> dict[str, pd.DataFrame]:
    """The rows of the set `part` that all tables have, sorted by id.

    Raises InputError where there is none, or two models have another label or group for a row.
    """
    kept = {name: table[table["set"] == part] for name, table in tables.items()}
    shared = set.intersection(*(set(table["id"]) for table in kept.values()))
    if not shared:
        said = {"val": "validation"}.get(part, part)
        raise InputError(f"{listed(tables)}: no {said} row in common; evaluate them on one split")
    kept = {name: table[table["id"].isin(shared)].sort_values("id", ignore_index=True) for name, table in kept.items()}
    first, *others = kept
    for name in others:
        same_rows(first, kept[first], name, kept[name])
    return kept


def _predictions(table, classes, predicted, probabilities) -> Predictions:
    truth = table["label"].map({c: i for i, c in enumerate(classes)}).to_numpy(np.int64)
    return Predictions(classes, table["group"].astype(str).to_numpy(object), truth, predicted, probabilities)


def merge_classes(
    name: str, table: pd.DataFrame, classes: tuple[str, ...], merge: Mapping[str, tuple[str, ...]]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table and its classes with `merge` ({new: (old, ...)}) applied: probabilities added up, labels renamed.

    A model that was trained on the merged class already stays as it is. New classes stand behind the others.
    """
    for new, old in merge.items():
        if new in classes and not set(old) & set(classes):
            continue
        if missing := set(old) - set(classes):
            raise InputError(f"{name}: has no class {listed(sorted(missing))} to merge into {new}")
        columns = [f"p_{c}" for c in old]
        check(name, table, classes, columns)
        table = table.assign(
            **{f"p_{new}": table[columns].sum(axis=1)}, label=table["label"].where(~table["label"].isin(old), new)
        ).drop(columns=[column for column in columns if column != f"p_{new}"])
        classes = (*(c for c in classes if c not in old), new)
    return table, classes


def subgroup_columns(table: pd.DataFrame) -> list[str]:
    """The columns that only sort rows into subgroups."""
    own = (*KEYS, *counts(table), "temperature", "volume", COLUMN)
    return [c for c in map(str, table.columns) if c not in own and not c.startswith("p_")]
