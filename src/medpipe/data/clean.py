"""From the manifest to the clean table: schema, unknown values, features, order."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pandera.pandas as pa

from medpipe.data import features
from medpipe.data.features import UNKNOWN
from medpipe.errors import InputError
from medpipe.params import Clean, Declaration, Number

_SHOWN = 5  # problems that one message names


def clean(manifest: pd.DataFrame, task: Declaration, settings: Clean) -> pd.DataFrame:
    """The manifest's rows that are kept, sorted by id, with the task's features (`features.columns`: numbers, NaN for
    unknown, and those of `features.encode`) and bands (`age_band`).

    With `unknown: drop` a row of which a categorical feature is unknown goes, but for those of the external test set,
    which stays whole under every policy. Raises InputError that names row and column where the manifest breaks its
    schema.
    """
    _validate(manifest, _schema(task))
    table = manifest.sort_values("id", ignore_index=True)
    if settings.unknown == "drop":
        unknown = (table[list(features.categories(task.features))] == UNKNOWN).any(axis=1)
        table = table[~unknown | (table["source"] == task.external)].reset_index(drop=True)
    encoded = features.encode(table, task.features, settings.unknown)
    bands = {name: _banded(table[name.removesuffix("_band")], ends) for name, ends in task.bands.items()}
    return pd.concat([table, encoded, pd.DataFrame(bands, index=table.index)], axis=1)


def _banded(values: pd.Series, ends: Sequence[float]) -> pd.Series:
    """The band of each value: `0-29`, `30-44` and so on, the last `75+`; unknown below the first, and for NaN."""
    whole = all(float(end).is_integer() for end in ends)
    labels = [f"{low:g}-{high - 1:g}" if whole else f"{low:g} to {high:g}" for low, high in pairwise(ends)]
    bands = pd.cut(values, [*ends, np.inf], right=False, labels=[*labels, f"{ends[-1]:g}+"])
    return bands.astype(object).fillna(UNKNOWN).astype(str)


def _schema(task: Declaration) -> pa.DataFrameSchema:
    text, digest = pa.Check.str_length(min_value=1), pa.Check.str_matches(r"^[0-9a-f]{64}$")
    positive = pa.Check.gt(0)
    columns = {
        "id": pa.Column(str, text, unique=True),
        "path": pa.Column(str, text),
        "sha256": pa.Column(str, digest),
        "bytes": pa.Column(int, positive),
        "width": pa.Column(int, positive),
        "height": pa.Column(int, positive),
        "phash": pa.Column(str, pa.Check.str_matches(r"^([0-9a-f]{64}){8}$")),
        "label": pa.Column(str, pa.Check.isin(task.classes)),
        "group": pa.Column(str, text),
        "grouped": pa.Column(bool),
        "source": pa.Column(str, text),
        "mask_path": pa.Column(str, text if task.mask_values else None),
        "mask_sha256": pa.Column(str, digest if task.mask_values else None),
    }
    for name, feature in task.features.items():
        if isinstance(feature, Number):
            columns[name] = pa.Column(float, pa.Check.in_range(*feature.range), nullable=True)
        else:
            columns[name] = pa.Column(str, pa.Check.isin((*feature.values, UNKNOWN)))
    columns |= {name: pa.Column(str, text) for name in task.subgroups if name not in columns | task.bands}
    return pa.DataFrameSchema(columns)


def _validate(table: pd.DataFrame, schema: pa.DataFrameSchema) -> None:
    try:
        schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
    else:
        return
    ids = table["id"] if "id" in table else table.index.to_series()
    lines = []
    for case in cases.head(_SHOWN).itertuples():
        if case.check == "column_in_dataframe":
            lines.append(f"column {case.failure_case}: missing")
        elif pd.isna(case.index):
            lines.append(f"column {case.column}: {case.check}, is {case.failure_case}")
        else:
            where = f"row {case.index} (id {ids.loc[case.index]}), column {case.column}"
            lines.append(f"{where}: {case.failure_case!r} fails {case.check}")
    if len(cases) > _SHOWN:
        lines.append(f"and {len(cases) - _SHOWN} more")
    raise InputError("the manifest breaks its schema; correct the archive and run ingest again:\n" + "\n".join(lines))
