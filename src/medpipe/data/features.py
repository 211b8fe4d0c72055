"""The skin task's metadata as numbers: the columns that a model reads and what is fitted to their training rows.

Any entry can be NaN, for unknown. The model itself fills and scales, so a caller of the served model sends NaN too:
x = where(isnan(x), fill, x); x = (x - mean) / std.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medpipe.errors import InputError

CATEGORICAL = ("sex", "localization")
UNKNOWN = "unknown"


def encode(table: pd.DataFrame, vocabulary: Mapping[str, Sequence[str]], unknown: str) -> pd.DataFrame:
    """A column of 0.0 and 1.0 for each value that sex and localization can have, in the vocabulary's order.

    Where the value is unknown, a column of its own is 1 if `unknown` is "category", else all the variable's are NaN.
    """
    columns = {}
    for name in CATEGORICAL:
        known = table[name] != UNKNOWN
        for value in (*vocabulary[name], UNKNOWN) if unknown == "category" else vocabulary[name]:
            column = (table[name] == value).astype(np.float64)
            columns[f"{name}_{value}"] = column if unknown == "category" else column.where(known)
    return pd.DataFrame(columns)


def columns(table: pd.DataFrame, vocabulary: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of a clean table's features: age, and what `encode` made of sex and localization."""
    encoded = [f"{name}_{value}" for name in CATEGORICAL for value in (*vocabulary[name], UNKNOWN)]
    without = {f"{name}_{UNKNOWN}" for name in CATEGORICAL} - set(table)  # unknown has a column under one policy alone
    return ["age", *(name for name in encoded if name not in without)]


def fit(train: pd.DataFrame, vocabulary: Mapping[str, Sequence[str]]) -> dict[str, list]:
    """`columns`, `fill`, `mean`, `std` of a clean table's training rows.

    Age is filled with its median, and it alone is scaled. Sex and localization are filled with their column for unknown
    where they have one, else with their most frequent value.
    Raises InputError where a variable is unknown in every training row.
    """
    from sklearn.impute import SimpleImputer  # 2 s, which clean need not wait
    from sklearn.preprocessing import StandardScaler

    imputed = [name for name in CATEGORICAL if f"{name}_{UNKNOWN}" not in train]
    for name in ("age", *imputed):
        if (train[name].isna() | (train[name] == UNKNOWN)).all():
            raise InputError(f"{name}: unknown in all {len(train)} training rows, so that nothing can be fitted to it")
    ages = train[["age"]].to_numpy(np.float64)
    imputer = SimpleImputer(strategy="median").fit(ages)
    scaler = StandardScaler().fit(imputer.transform(ages))
    fill = {"age": float(imputer.statistics_[0])} | {f"{name}_{UNKNOWN}": 1.0 for name in CATEGORICAL}
    for name in imputed:
        values = train[[name]].to_numpy(object)
        mode = SimpleImputer(strategy="most_frequent", missing_values=UNKNOWN).fit(values).statistics_[0]
        fill[f"{name}_{mode}"] = 1.0
    names = columns(train, vocabulary)
    return {
        "columns": names,
        "fill": [fill.get(name, 0.0) for name in names],
        "mean": [float(scaler.mean_[0]) if name == "age" else 0.0 for name in names],
        "std": [float(scaler.scale_[0]) if name == "age" else 1.0 for name in names],
    }
