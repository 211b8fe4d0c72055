"""What a service logged, and what the model said of its validation rows."""

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.errors import InputError
from medpipe.evaluation.predictions import pooled
from medpipe.models.ood import COLUMN, EMBEDDING
from medpipe.service.served import registry
from medpipe.store import address

KEYS = ["model", "version", "sha256"]
ENTRY = ["time", "request", "row"]  # which one answer of a version is
# What comes of a named case in this time of its first answer is of it, and what comes later is left out. A case counts
# once the time is over, and never changes afterwards, so that a longer log goes on from a shorter one.
OPEN = pd.Timedelta(hours=1)


@dataclass(frozen=True)
class Logged:
    """n cases of one version in the order in which they were complete, one answer each, and its validation cases."""

    model: str
    version: str | None
    sha256: str
    times: pd.Series  # (n,)
    names: tuple[str, ...]  # of the k classes
    predicted: npt.NDArray[np.int64]  # (n,)
    scores: npt.NDArray[np.float64] | None  # (n,) out of distribution
    embeddings: npt.NDArray[np.float32] | None  # (n, d)
    validation: npt.NDArray[np.int64]  # (k,) how often each class was predicted of a validation case, one row each
    known: npt.NDArray[np.float64] | None  # scores of the validation cases, where cases have them
    rows: int  # of validation, from all of which scores are
    answers: int  # in the log, of all cases
    open: int  # cases that are not complete yet
    named: bool  # whether every answer has a case of its own that the sender gave

    @property
    def title(self) -> str:
        return f"{self.model}, version {self.version}" if self.version else f"{self.model} ({self.sha256[:12]})"


def read(folder: Path, validation: Path | None) -> list[Logged]:
    """Each version's answers in the log `folder`, held against the prediction table `validation`, or its run's.

    An answer counts once, in however many files it is. A file that a killed service has not finished is left out, and
    said so.

    Raises InputError where there is no log, where a file is damaged, and where a table cannot be had or is another
    model's.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{folder}: no log in it; `medpipe serve --log {folder}` writes one")
    parts = [part for file in files if (part := _part(file)) is not None]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if missing := [name for name in (*ENTRY, *KEYS) if name not in table]:
        raise InputError(f"{folder}: columns missing: {', '.join(missing)}; it holds other files than a service's log")
    table = table.drop_duplicates([*ENTRY, *KEYS]).sort_values(ENTRY, kind="stable")
    versions = [
        (keys, rows.dropna(axis=1, how="all").infer_objects())  # the columns of its own kind of model
        for keys, rows in table.groupby(KEYS, sort=False, dropna=False)
    ]
    if validation is not None and len(versions) > 1:
        raise InputError(f"{folder}: answers of {len(versions)} versions; one prediction table cannot be all of theirs")
    found = []
    for (model, number, sha256), rows in versions:
        version = number if isinstance(number, str) else None  # NaN
        known = _parquet(validation) if validation is not None else _of_run(str(model), version)
        found.append(_logged(str(model), version, str(sha256), rows, known))
    return found


def _part(file: Path) -> pd.DataFrame | None:
    """A file of the log. Hidden ones are being written, or were when the service was killed."""
    try:
        return _parquet(file)
    except InputError as error:
        if not file.name.startswith("."):
            raise
        print(f"medpipe: a file that was not finished is left out: {error}", file=sys.stderr)
        return None


def _cases(answers: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """One answer, drawn by chance, of each case that is complete, and how many are not. A request without a named case
    is one, and complete at once.

    Of a case's answers, which have to do with each other, one alone counts: else they are taken for independent ones.
    """
    case = answers.groupby(["request", "time"]).ngroup()
    named = pd.Series(False, answers.index)
    if "case" in answers:
        named = answers["case"].notna()
        case = case.mask(named, len(answers) + answers.groupby("case").ngroup())
    first = answers.groupby(case)["time"].transform("min")
    complete = first.where(~named, first + OPEN)
    over = complete <= answers["time"].max()
    drawn = pd.util.hash_pandas_object(answers[ENTRY], index=False)[over & (answers["time"] <= complete)]
    chosen = answers.loc[drawn.groupby(case).idxmin()].assign(complete=complete)
    return chosen.sort_values(["complete", *ENTRY], kind="stable"), case[~over].nunique()


def _logged(model: str, version: str | None, sha256: str, answers: pd.DataFrame, table: pd.DataFrame) -> Logged:
    rows, still_open = _cases(answers)
    if rows.empty:
        raise InputError(f"{model}: no case in its log is complete; a named one is an hour after its first answer")
    every = table[table["set"] == "val"]
    if missing := [name for name in ("id", "group", *([COLUMN] if COLUMN in rows else [])) if name not in table]:
        raise InputError(f"{model}: its prediction table lacks {', '.join(missing)}; run its evaluation again")
    known = every.loc[pd.util.hash_pandas_object(every["id"], index=False).groupby(every["group"]).idxmin()]
    if "label" in rows:
        names = tuple(str(name).removeprefix("p_") for name in known if str(name).startswith("p_"))
        predicted, said = known[[f"p_{name}" for name in names]].to_numpy().argmax(axis=1), rows["label"]
    else:  # whether masks mark any pixel
        name = str(rows.select_dtypes("bool").columns[0])
        names = (f"no {name}", name)
        predicted, said = pooled(known)[["tp", "fp"]].to_numpy().any(axis=1), rows[name].map(dict(enumerate(names)).get)
    if known.empty or not set(said) <= set(names):
        raise InputError(f"{model}: its log and the prediction table are of different models: no validation row of it")
    places = {name: place for place, name in enumerate(names)}
    return Logged(
        model, version, sha256, rows["time"], names, np.asarray(said.map(places), np.int64),
        rows[COLUMN].to_numpy(np.float64) if COLUMN in rows else None,
        np.stack(rows[EMBEDDING].to_list()) if EMBEDDING in rows and rows[EMBEDDING].notna().all() else None,
        np.bincount(predicted, minlength=len(names)),
        known[COLUMN].to_numpy(np.float64) if COLUMN in rows else None,
        len(every), len(answers), still_open, "case" in answers and bool(answers["case"].notna().all()),
    )  # fmt: skip


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # of which pyarrow's own are
        raise InputError(f"{path}: no Parquet file that can be read: {error}") from None


def _of_run(model: str, version: str | None) -> pd.DataFrame:
    """The prediction table that evaluate logged with the version's run."""
    from mlflow.exceptions import MlflowException

    if version is None:
        raise InputError(f"{model}: no registered version; give its prediction table with --validation")
    client = registry()
    try:
        run = str(client.get_model_version(model, version).run_id)
        with TemporaryDirectory() as folder:
            return _parquet(next(Path(client.download_artifacts(run, "predictions", folder)).glob("*.parquet")))
    except (MlflowException, OSError, StopIteration) as error:
        raise InputError(
            f"{model}, version {version}: {address(client)} has no predictions of it ({error}); set "
            "MLFLOW_TRACKING_URI to the store that does, or give the table with --validation"
        ) from None
