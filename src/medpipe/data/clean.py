"""From the manifest to the clean table: schema, unknown values, features, order."""

import numpy as np
import pandas as pd
import pandera.pandas as pa

from medpipe.data import features
from medpipe.data.features import UNKNOWN
from medpipe.data.vocabulary import EXTERNAL, VOCABULARY, Vocabulary
from medpipe.errors import InputError
from medpipe.params import NoClean, SkinClean

AGE_BANDS = {"0-29": 0, "30-44": 30, "45-59": 45, "60-74": 60, "75+": 75}  # years, each from its lower end
_SHOWN = 5  # problems that one message names


def clean(manifest: pd.DataFrame, task: str, settings: SkinClean | NoClean) -> pd.DataFrame:
    """The manifest's rows that are kept, sorted by id; for skin with `age_band` and the features (`features.columns`):
    age (years, NaN for unknown) and those of `features.encode`.

    With `unknown: drop` a row of unknown sex or localization goes, but for those of the external test set, which stays
    whole under every policy. Raises InputError that names row and column where the manifest breaks its schema.
    """
    names = VOCABULARY[task]
    _validate(manifest, _schema(task, names))
    table = manifest.sort_values("id", ignore_index=True)
    if not isinstance(settings, SkinClean):
        return table
    if settings.unknown == "drop":
        unknown = (table["sex"] == UNKNOWN) | (table["localization"] == UNKNOWN)
        table = table[~unknown | (table["source"] == EXTERNAL)].reset_index(drop=True)
    encoded = features.encode(table, names.features, settings.unknown)
    return pd.concat([table, encoded, _age_bands(table["age"])], axis=1)


def _age_bands(age: pd.Series) -> pd.Series:
    bands = pd.cut(age, [*AGE_BANDS.values(), np.inf], right=False, labels=list(AGE_BANDS))
    return bands.astype(object).fillna(UNKNOWN).astype(str).rename("age_band")


def _schema(task: str, names: Vocabulary) -> pa.DataFrameSchema:
    text, digest = pa.Check.str_length(min_value=1), pa.Check.str_matches(r"^[0-9a-f]{64}$")
    positive = pa.Check.gt(0)
    columns = {
        "id": pa.Column(str, text, unique=True),
        "path": pa.Column(str, text),
        "sha256": pa.Column(str, digest),
        "bytes": pa.Column(int, positive),
        "width": pa.Column(int, positive),
        "height": pa.Column(int, positive),
        "phash": pa.Column(str, digest),
        "label": pa.Column(str, pa.Check.isin(names.classes)),
        "group": pa.Column(str, text),
        "source": pa.Column(str, text),
        "mask_path": pa.Column(str, text if task == "brain" else None),
        "mask_sha256": pa.Column(str, digest if task == "brain" else None),
    }
    if task == "skin":
        columns |= {name: pa.Column(str, pa.Check.isin((*known, UNKNOWN))) for name, known in names.features.items()}
        columns["age"] = pa.Column(float, pa.Check.in_range(0, 120), nullable=True)
    columns |= {name: pa.Column(str, text) for name in names.subgroups if name not in {*columns, "age_band"}}
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
