"""What the columns of a table seem to be: classes, numbers, categories."""

import re
from typing import Any

import numpy as np
import pandas as pd

from medpipe.data.missing import blanked, is_missing
from medpipe.data.tables import folded
from medpipe.params import RESERVED

VALUES = ("none", "nil")  # that say what there is, where other words for "not known" do not


def classes(labels: pd.Series) -> tuple[list[str], dict[str, str]]:
    """Names that a class can have, most frequent first, and by what a label differs from them (`codes`)."""
    labels = labels[labels != ""]
    spelt = labels.groupby(folded(labels)).agg(lambda values: values.mode().iloc[0])
    counted = labels.groupby(folded(labels)).size().sort_values(ascending=False, kind="stable")
    called: dict[str, str] = {}
    for i, name in enumerate((str(spelt[key]) for key in counted.index), 1):
        plain = class_name(name)
        called[name] = f"{plain}_{i}" if plain in called.values() else plain
    return [*called.values()], {name: plain for name, plain in called.items() if plain != name}


def class_name(name: str) -> str:
    """The name in letters, digits, blanks, `_`, `.` and `-`."""
    plain = re.sub(r"[^A-Za-z0-9_. -]+", "_", name.strip()).strip("_. -")
    return plain or "class"


def doubtful(values: pd.Series) -> str:
    """The words among the values that may stand for "not known", with their counts."""
    counts = values[is_missing(values) & (values != "")].value_counts()
    return ", ".join(f"{word!r} ({count})" for word, count in counts.items())


def kinds(values: pd.Series) -> int:
    return int(folded(values[values != ""]).nunique())


def one_hot(table: pd.DataFrame) -> list[str]:
    binary = [str(c) for c in table if table[c].isin(["0", "1", "0.0", "1.0"]).all()]
    if len(binary) < 2:
        return []
    single = table[binary].astype(float).sum(axis=1) == 1
    return binary if single.mean() > 0.95 else []


def features(
    table: pd.DataFrame, used: set[Any], labels: pd.Series | None, questions: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The declared features of the other columns, and the column of each. One that tells the label is none."""
    found: dict[str, dict[str, Any]] = {}
    columns: dict[str, str] = {}
    for column in map(str, table):
        known = ~is_missing(table[column]) | table[column].str.casefold().isin(VALUES)
        values = table[column][known]
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", column).strip("_-")
        name = f"{name}_given" if name in RESERVED else name
        if column in used or not name or column.startswith("Unnamed") or len(values) < 0.5 * len(table):
            continue
        numbers = pd.to_numeric(blanked(values).replace("", np.nan).dropna(), errors="coerce")
        numbers = numbers.replace([np.inf, -np.inf], np.nan)
        different = kinds(values)
        number = numbers.notna().mean() > 0.95 and different > 10
        if number and different == len(table) and (numbers.diff().dropna() == 1).all():
            continue  # an index
        if not number and not 2 <= different <= 20:
            continue
        if labels is not None and not number:
            told = pd.crosstab(folded(table[column]), folded(labels)).max(axis=1).sum() / len(table)
            if told > max(0.95, folded(labels).value_counts(normalize=True).iloc[0] + 0.02):
                questions.append(f"features: {column} tells the label of {told:.0%} of the rows, so it is none")
                continue
        if number:
            low, high = float(np.floor(numbers.min())), float(np.ceil(numbers.max()))
            bands = np.unique(np.round(numbers.quantile([0, 0.25, 0.5, 0.75]).to_numpy()))
            found[name] = {"range": [low, high], "bands": [float(b) for b in bands] if len(bands) > 1 else []}
        else:
            spelt = values.groupby(folded(values)).agg(lambda same: same.mode().iloc[0])
            found[name] = {"values": sorted(map(str, spelt))}
            if words := doubtful(table[column]):
                questions.append(
                    f"features.{name}: the column {column} holds {words}; {' and '.join(VALUES)} are taken for values, "
                    "the others for unknown; list what is a value"
                )
        columns[name] = column
    return found, columns
