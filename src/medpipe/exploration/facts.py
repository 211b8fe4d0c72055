"""What a task's tables say before any image is opened: counts, missing values, columns by class, duplicates.

Rows of every set are counted. The distribution of a number by class is taken of training rows alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from medpipe.data.features import UNKNOWN, categories
from medpipe.data.vocabulary import COLUMNS
from medpipe.params import Declaration
from medpipe.training.selection import undersample

SETS = ("train", "val", "test", "external", "excluded")
DERIVED = ("format", "size")  # columns that every table gets here


def joined(clean: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The clean table with `set` and the split's `group` of each row, `format` (the file's ending) and `size`."""
    dealt = rows.set_index("id").loc[clean["id"], ["set", "group"]].reset_index(drop=True)
    ending = clean["path"].map(lambda path: PurePosixPath(path.partition("#")[0]).suffix.lstrip(".").lower() or "none")
    size = clean["width"].astype(str) + " x " + clean["height"].astype(str)
    return clean.reset_index(drop=True).assign(set=dealt["set"], group=dealt["group"], format=ending, size=size)


def numeric_columns(manifest: pd.DataFrame) -> list[str]:
    """The numbers that an archive gives beside what ingest measures of each file."""
    return [str(c) for c in manifest if c not in COLUMNS and pd.api.types.is_numeric_dtype(manifest[c])]


def categorical_columns(table: pd.DataFrame, task: Declaration) -> list[str]:
    """Subgroups, categorical features, source, format and size; of columns that say the same, the first."""
    found: list[str] = []
    for name in dict.fromkeys((*task.subgroups, *categories(task.features), "source", *DERIVED)):
        if name in table and not any(table[name].astype(str).equals(table[other].astype(str)) for other in found):
            found.append(name)
    return found


def class_counts(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    """`rows` and `groups`: {class: {set: count}}. Every class is there, and every set that has a row."""
    sets = [name for name in SETS if (table["set"] == name).any()]

    def counts(part: pd.DataFrame) -> dict[str, dict[str, int]]:
        crossed = pd.crosstab(part["label"], part["set"]).reindex(index=list(classes), columns=sets, fill_value=0)
        return {str(label): {str(k): int(n) for k, n in row.items()} for label, row in crossed.iterrows()}

    return {"rows": counts(table), "groups": counts(table.drop_duplicates(["group", "label", "set"]))}


def balance(labels: pd.Series, classes: Sequence[str], ratio: float, seed: int) -> dict[str, dict[str, int]]:
    """Training rows of each class: `before`, and `after` undersampling to `ratio` times the rarest that is there."""
    numbers = pd.Categorical(labels, categories=list(classes)).codes.astype(np.int64)
    kept = labels.iloc[undersample(np.arange(len(labels)), numbers, ratio, seed)]
    return {
        name: {label: int((part == label).sum()) for label in classes}
        for name, part in (("before", labels), ("after", kept))
    }


def group_sizes(table: pd.DataFrame) -> dict[str, Any]:
    """Groups (lesions or patients, after merging duplicates), and how many images one has."""
    sizes = table["group"].value_counts()
    return {
        "groups": len(sizes),
        "mean": float(sizes.mean()),
        "max": int(sizes.max()),
        "single": int((sizes == 1).sum()),
    }


def missing(manifest: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Of each column that the archive gives: values that are missing, empty or `unknown`, and how many differ."""
    found: dict[str, dict[str, Any]] = {}
    for name in ["source", *(str(c) for c in manifest if c not in COLUMNS)]:
        column = manifest[name]
        absent = column.isna() | column.astype("string").str.strip().isin(["", UNKNOWN]).fillna(True)
        found[name] = {
            "missing": int(absent.sum()),
            "share": float(absent.mean()),
            "values": int(column[~absent].nunique()),
        }
    return found


def numbers_by_class(train: pd.DataFrame, columns: Sequence[str], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{column: {class: rows, missing, mean, min, q1, median, q3, max}}; None where a class has no value."""
    return {name: {label: _summary(train.loc[train["label"] == label, name]) for label in classes} for name in columns}


def _summary(values: pd.Series) -> dict[str, Any]:
    known = values.dropna().astype(float)
    quantiles = known.quantile([0, 0.25, 0.5, 0.75, 1]).tolist() if len(known) else [None] * 5
    return {
        "rows": len(values),
        "missing": len(values) - len(known),
        "mean": float(known.mean()) if len(known) else None,
        **dict(zip(("min", "q1", "median", "q3", "max"), quantiles, strict=True)),
    }


def values_by_class(table: pd.DataFrame, columns: Sequence[str], classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{column: counts: {class: {value: rows}}, guess}, the values from the most frequent on,
    or in order where they begin with a digit.

    `guess` is the share of rows that would be right if each value stood for its most frequent class. Far above the
    share of the most frequent class, the column tells the label: a leak, or a source that a model may learn instead.
    """
    found = {}
    for name in columns:
        column = table[name].astype("string").fillna(UNKNOWN)
        counted = [(str(value), int(n)) for value, n in column.value_counts().items()]
        values = sorted(counted, key=lambda item: (-item[1], item[0]))
        if all(value[:1].isdigit() for value, _ in values if value != UNKNOWN):  # bands of a number: in their order
            values.sort(key=lambda item: (item[0] == UNKNOWN, item[0]))
        names = [value for value, _ in values]
        crossed = pd.crosstab(table["label"], column).reindex(index=list(classes), columns=names, fill_value=0)
        counts = {str(label): {str(k): int(n) for k, n in row.items()} for label, row in crossed.iterrows()}
        found[name] = {"counts": counts, "guess": float(crossed.max().sum() / len(table))}
    return found


def duplicates(split: Mapping[str, Any], quarantine: pd.DataFrame) -> dict[str, Any]:
    """Pairs that tied two groups together: all, same files, mirrored or turned; images left out; rows that leak."""
    reasons = quarantine["reason"].astype(str)
    return {
        "quarantined": int(reasons.str.startswith("duplicate").sum()),
        "merged": len(split["merged"]),
        "same_file": sum(pair["same_file"] for pair in split["merged"]),
        "turned": sum(pair["orientation"] != "as it is" for pair in split["merged"]),
        "other_label": sum(len(set(pair["label"])) > 1 for pair in split["merged"]),
        "excluded": len(split["excluded"]),
        "near": split["near"],
        "by": split["by"],
        "leak": {name: rows for name, rows in split["leak"].items() if rows},
        "grouping": split["grouping"],
    }


def quarantined(quarantine: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """{kind of reason: {images, first}}, the most frequent first; `first` is a file or id with the whole reason."""
    names = quarantine["path"].where(quarantine["path"] != "", quarantine["id"])
    kinds = quarantine["reason"].str.split(":").str[0]
    return {
        kind: {
            "images": count,
            "first": f"{names[kinds == kind].iloc[0]}: {quarantine.loc[kinds == kind, 'reason'].iloc[0]}",
        }
        for kind, count in Counter(kinds).most_common()
    }
