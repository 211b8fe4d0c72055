"""A task's metadata as numbers: the columns that a model reads and what is fitted to their training rows.

Any entry can be NaN, for unknown. The model itself fills and scales, so a caller of the served model sends NaN too:
x = where(isnan(x), fill, x); x = (x - mean) / std.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medpipe.data.missing import is_missing
from medpipe.errors import InputError
from medpipe.params import Category, Feature

UNKNOWN = "unknown"


def read_category(values: pd.Series, feature: Category) -> pd.Series:
    """The feature's values, in whatever case they are written, and UNKNOWN; a value called `none` is a value.

    What is neither stays as it is, as text.
    """
    text, folds = values.astype(object).map(lambda value: str(value).strip()), [v.casefold() for v in feature.values]
    spelt = {fold: value for fold, value in zip(folds, feature.values, strict=True) if folds.count(fold) == 1}
    read = text.map(lambda said: said if said in feature.values else spelt.get(said.casefold(), said))
    return read.mask(values.isna() | (is_missing(text) & ~read.isin(feature.values)), UNKNOWN)


def categories(declared: Mapping[str, Feature]) -> dict[str, tuple[str, ...]]:
    """The values of each categorical feature."""
    return {name: feature.values for name, feature in declared.items() if isinstance(feature, Category)}


def encode(table: pd.DataFrame, declared: Mapping[str, Feature], unknown: str | None) -> pd.DataFrame:
    """A column of 0.0 and 1.0 for each value that a categorical feature can have, in their declared order.

    Where the value is unknown, a column of its own is 1 if `unknown` is "category", else all the feature's are NaN.
    """
    columns = {}
    for name, values in categories(declared).items():
        known = table[name] != UNKNOWN
        for value in (*values, UNKNOWN) if unknown == "category" else values:
            column = (table[name] == value).astype(np.float64)
            columns[f"{name}_{value}"] = column if unknown == "category" else column.where(known)
    return pd.DataFrame(columns, index=table.index)


def columns(table: pd.DataFrame, declared: Mapping[str, Feature]) -> list[str]:
    """The names of a clean table's features: numbers as they are, categories as `encode` made them."""
    values, found = categories(declared), []
    for name in declared:
        found += [f"{name}_{value}" for value in (*values[name], UNKNOWN)] if name in values else [name]
    without = {f"{name}_{UNKNOWN}" for name in values} - set(table)  # unknown has a column under one policy alone
    return [name for name in found if name not in without]


def fit(train: pd.DataFrame, declared: Mapping[str, Feature]) -> dict[str, list]:
    """`columns`, `fill`, `mean`, `std` of a clean table's training rows; empty lists where nothing is declared.

    Numbers are filled with their median, and they alone are scaled; one that does not vary has deviation 1. Categories
    are filled with their column for unknown where they have one, else with their most frequent value.
    Raises InputError where a feature is unknown in every training row.
    """
    for name in declared:
        if f"{name}_{UNKNOWN}" not in train and (train[name].isna() | (train[name] == UNKNOWN)).all():
            raise InputError(f"{name}: unknown in all {len(train)} training rows, so that nothing can be fitted to it")
    fill, mean, std = dict[str, float](), dict[str, float](), dict[str, float]()
    values = categories(declared)
    for name in declared:
        if name not in values:
            known = train[name].dropna()
            fill[name] = float(known.median())
            filled = train[name].fillna(fill[name]).to_numpy(np.float64)
            mean[name], std[name] = float(filled.mean()), float(filled.std()) or 1.0
        elif f"{name}_{UNKNOWN}" in train:
            fill[f"{name}_{UNKNOWN}"] = 1.0
        else:
            modes = train.loc[train[name] != UNKNOWN, name].mode()  # of equally frequent ones the first by name
            fill[f"{name}_{modes.iloc[0]}"] = 1.0
    names = columns(train, declared)
    return {
        "columns": names,
        "fill": [fill.get(name, 0.0) for name in names],
        "mean": [mean.get(name, 0.0) for name in names],
        "std": [std.get(name, 1.0) for name in names],
    }
