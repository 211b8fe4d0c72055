"""What a service logged, and what the model said of its validation rows."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.errors import InputError
from medpipe.evaluation.predictions import pooled
from medpipe.models.ood import EMBEDDING
from medpipe.service.served import registry
from medpipe.store import address

KEYS = ["model", "version", "sha256"]


@dataclass(frozen=True)
class Logged:
    """n answers of one version in the order in which they were given, and its validation rows."""

    model: str
    version: str | None
    sha256: str
    times: pd.Series  # (n,)
    names: tuple[str, ...]  # of the k classes
    predicted: npt.NDArray[np.int64]  # (n,)
    scores: npt.NDArray[np.float64] | None  # (n,) out of distribution
    embeddings: npt.NDArray[np.float32] | None  # (n, d)
    validation: npt.NDArray[np.int64]  # (k,) how often each class was predicted of a validation row

    @property
    def title(self) -> str:
        return f"{self.model}, version {self.version}" if self.version else f"{self.model} ({self.sha256[:12]})"


def read(folder: Path, validation: Path | None) -> list[Logged]:
    """Each version's answers in the log `folder`, held against the prediction table `validation`, or its run's.

    Raises InputError where there is no log, where a file is damaged, and where a table cannot be had or is another
    model's.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{folder}: no log in it; `medpipe serve --log {folder}` writes one")
    table = pd.concat([_parquet(file) for file in files], ignore_index=True)
    if missing := [name for name in ("time", "request", "row", *KEYS) if name not in table]:
        raise InputError(f"{folder}: columns missing: {', '.join(missing)}; it holds other files than a service's log")
    table = table.sort_values(["time", "request", "row"], kind="stable")
    versions = [(keys, rows.dropna(axis=1, how="all")) for keys, rows in table.groupby(KEYS, sort=False, dropna=False)]
    if validation is not None and len(versions) > 1:
        raise InputError(f"{folder}: answers of {len(versions)} versions; one prediction table cannot be all of theirs")
    found = []
    for (model, number, sha256), rows in versions:
        version = number if isinstance(number, str) else None  # NaN
        known = _parquet(validation) if validation is not None else _of_run(str(model), version)
        found.append(_logged(str(model), version, str(sha256), rows, known))
    return found


def _logged(model: str, version: str | None, sha256: str, rows: pd.DataFrame, known: pd.DataFrame) -> Logged:
    known = known[known["set"] == "val"]
    if "label" in rows:
        names = tuple(str(name).removeprefix("p_") for name in known if str(name).startswith("p_"))
        predicted, said = known[[f"p_{name}" for name in names]].to_numpy().argmax(axis=1), rows["label"]
    else:  # whether masks mark any pixel
        name = str(next(iter(rows.select_dtypes("bool")), ""))
        names = (f"no {name}", name)
        predicted, said = pooled(known)[["tp", "fp"]].to_numpy().any(axis=1), rows[name].map(dict(enumerate(names)).get)
    if known.empty or not set(said) <= set(names):
        raise InputError(f"{model}: its log and the prediction table are of different models: no validation row of it")
    places = {name: place for place, name in enumerate(names)}
    return Logged(
        model, version, sha256, rows["time"], names, np.asarray(said.map(places), np.int64),
        rows["ood"].to_numpy(np.float64) if "ood" in rows else None,
        np.stack(rows[EMBEDDING].to_list()) if EMBEDDING in rows and rows[EMBEDDING].notna().all() else None,
        np.bincount(predicted, minlength=len(names)),
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
