"""Runs in MLflow. Beside this module only registry.models writes to its store, what comes after a training: every
training depends on this file.

A run is known by a key of ours (tag `medpipe.run`), which lies in models/<name>/run.json beside everything that the run
was begun with. MLflow's own id will not do: a store that is made anew gives its runs new ids, and a run that DVC brings
back from its cache, or that a clone pulls, must still be found, or be rebuilt where it is missing.
"""

import hashlib
import json
import os
import signal
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from medpipe import atomic, provenance
from medpipe.errors import InputError

if TYPE_CHECKING:  # the import takes two seconds, so a function that needs MLflow imports it
    from filelock import BaseFileLock
    from mlflow import MlflowClient
    from mlflow.entities import Metric

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

RECORD = "run.json"
METRICS, PARAMS = 1000, 100  # the most that MLflow takes in one call
EPOCH = "epoch/"  # before the names of metrics that have a curve: the UI groups by it, and shows these first


# ------------------------------------------------------------------------------------------------ the store
def root() -> Path:
    """The repository that store and artifacts belong to.

    DVC names it in DVC_ROOT, and means the real one even where an experiment runs in a copy under .dvc/tmp; in the
    copies that studies make, MEDPIPE_ROOT does. Without them it is the next folder upwards that holds .dvc or .git.
    Raises InputError where there is none.
    """
    if named := os.environ.get("MEDPIPE_ROOT") or os.environ.get("DVC_ROOT"):
        return Path(named).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir() or (folder / ".git").exists():
            return folder
    raise InputError(f"{here}: neither it nor a folder above is a repository; run from the pipeline's root")


def connect() -> "MlflowClient":
    """A client of the server that MLFLOW_TRACKING_URI names, else of `<root>/mlflow.db`, made here if need be."""
    from mlflow import MlflowClient

    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return MlflowClient(tracking_uri=uri)
    with _lock():  # two workers at once would both migrate an empty database, and one of them fail
        client = MlflowClient(tracking_uri=f"sqlite:///{root() / 'mlflow.db'}")
        client.search_experiments(max_results=1)
    return client


def _lock() -> "BaseFileLock":
    from filelock import FileLock

    return FileLock(root() / "mlflow.db.lock")


def _experiment(client: "MlflowClient", task: str) -> str:
    """The id of the task's experiment. Its artifacts get a fixed place: MLflow's default is the current directory."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(task)
    if found is None:
        remote = client.tracking_uri.startswith("http")
        try:
            return client.create_experiment(task, None if remote else (root() / "mlartifacts" / task).as_uri())
        except MlflowException:  # another worker was first
            found = client.get_experiment_by_name(task)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":  # in the UI; its name stays taken
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


# ------------------------------------------------------------------------------------------------ begin, reopen
def begin(
    task: str,
    name: str,
    settings: Mapping[str, Any],
    tags: Mapping[str, str],
    folder: Path,
    parent: "Run | None" = None,
    key: str | None = None,
) -> "Run":
    """Open the run of a training, or go on with it where its record lies in `folder`, that of its checkpoint.

    `settings` become the run's parameters, nested ones under dotted names. `tags` say what the settings cannot (hashes
    of data and split) and are stored as `medpipe.<tag>`. The UI shows it below `parent`, and under `name`; that of an
    experiment as `name (experiment)`. A `key` that follows from the result makes one run of all that come out the same.
    """
    client = connect()
    if (folder / RECORD).exists():
        record = _read(folder)
        run = Run(client, _find(client, record) or _create(client, record), record)
        run.resume()
        return run
    known, key, params = key is not None, key or uuid.uuid4().hex, flatten(settings)
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]
    own = {f"medpipe.{tag}": value for tag, value in tags.items()} | {"medpipe.run": key, "medpipe.settings": digest}
    if parent is not None:
        own["mlflow.parentRunId"] = parent.run_id
    record = {
        "key": key,
        "task": task,
        "name": name,
        "params": params,
        "tags": own | provenance.tags(),
        "started": _now(),
    }
    with _lock():
        found = _find(client, record) if known else None
        run = Run(client, found or _create(client, record), record)
    run.write(folder)
    return run


def reopen(folder: Path) -> "Run":
    """The run of `models/<name>/`; where the store lacks it, rebuilt of its run.json and history.csv.

    Raises InputError where the folder has no run.json.
    """
    client, record = connect(), _read(folder)
    with _lock():  # an evaluation and a restore may want the same run
        run_id = _find(client, record)
        if run_id is None:
            # The tag by which it will be found comes last: killed before, this begins anew.
            tags = {name: value for name, value in record["tags"].items() if name != "medpipe.run"}
            run_id = _create(client, record | {"tags": tags})
            _replay(client, run_id, record, folder / "history.csv")
            client.set_terminated(run_id, "FINISHED", record["ended"])
            client.set_tag(run_id, "medpipe.run", record["key"])
    return Run(client, run_id, record)


def _read(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / RECORD).read_text())
    except FileNotFoundError:
        raise InputError(f"{folder / RECORD}: not found; train the model, or `dvc pull` it") from None


def _find(client: "MlflowClient", record: Mapping[str, Any]) -> str | None:
    query = f"tags.`medpipe.run` = '{record['key']}'"
    runs = client.search_runs([_experiment(client, record["task"])], query, max_results=1)
    return runs[0].info.run_id if runs else None


def _create(client: "MlflowClient", record: Mapping[str, Any]) -> str:
    from mlflow.entities import Param

    name, tags = record["name"], record["tags"]
    if experiment := tags.get("medpipe.experiment"):  # or all runs of a study would have one name
        name = f"{name} ({experiment})"
    run = client.create_run(_experiment(client, record["task"]), record["started"], tags, name)
    params = [Param(key, value) for key, value in record["params"].items()]
    for start in range(0, len(params), PARAMS):
        client.log_batch(run.info.run_id, params=params[start : start + PARAMS])
    return run.info.run_id


def _replay(client: "MlflowClient", run_id: str, record: Mapping[str, Any], history: Path) -> None:
    """Log the epochs of `history`, their times spread evenly from the training's start to its end."""
    import pandas as pd
    from mlflow.entities import Metric

    if not history.exists():  # a fusion that is fitted in one step
        return
    table = pd.read_csv(history)
    rows = table.select_dtypes("number").to_dict(orient="records")  # without the phase's name
    metrics = []
    for i, row in enumerate(rows, start=1):
        at, epoch = record["started"] + (record["ended"] - record["started"]) * i // len(rows), int(row.pop("epoch"))
        metrics += [Metric(f"{EPOCH}{k}", v, at, epoch) for k, v in row.items() if pd.notna(v)]
    _log(client, run_id, metrics)


# ------------------------------------------------------------------------------------------------ the run
class Run:
    """A run of the store. As a context it ends finished, failed (an exception) or killed (Ctrl-C, SIGTERM)."""

    def __init__(self, client: "MlflowClient", run_id: str, record: dict[str, Any]) -> None:
        self.client, self.run_id, self.record = client, run_id, record
        self.key: str = record["key"]
        self._epochs: set[tuple[str, int]] = set()

    def __enter__(self) -> Self:
        self._handler = signal.signal(signal.SIGTERM, _terminate)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        signal.signal(signal.SIGTERM, self._handler)
        if kind is None:
            self.finish()
        elif issubclass(kind, (KeyboardInterrupt, SystemExit)):
            self.kill()
        else:
            self.fail(f"{kind.__name__}: {error}")

    def resume(self) -> None:
        """Open it again; the epochs that it holds will not be logged twice."""
        run = self.client.get_run(self.run_id)
        for name in run.data.metrics:
            self._epochs |= {(name, point.step) for point in self.client.get_metric_history(self.run_id, name)}
        if "medpipe.error" in run.data.tags:
            self.client.delete_tag(self.run_id, "medpipe.error")
        self.client.update_run(self.run_id, status="RUNNING")

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log an epoch's metrics as `epoch/<name>`. Those that are there stay: a resumed training repeats some."""
        from mlflow.entities import Metric

        now, named = _now(), {f"{EPOCH}{name}": float(value) for name, value in values.items()}
        metrics = [Metric(k, v, now, epoch) for k, v in named.items() if (k, epoch) not in self._epochs]
        self._epochs |= {(metric.key, epoch) for metric in metrics}
        _log(self.client, self.run_id, metrics)

    def log_figure(self, name: str, value: float, step: int) -> None:
        """Log one value of a metric that is no epoch's."""
        self.client.log_metric(self.run_id, name, float(value), step=step)

    def log_metrics(self, values: Mapping[str, float], model_id: str) -> None:
        """Log metrics of the finished model, for the run and its logged model `model_id`, which gets each once."""
        from mlflow.entities import Metric

        now = _now()
        known = {metric.key: metric.value for metric in self.client.get_logged_model(model_id).metrics or ()}
        metrics = [Metric(k, float(v), now, 0, model_id) for k, v in values.items() if known.get(k) != float(v)]
        _log(self.client, self.run_id, metrics)

    def log_artifacts(self, path: Path, to: str | None = None) -> None:
        """Copy a file, or what a folder holds, to the run's artifacts, into their folder `to`."""
        log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        log(self.run_id, str(path), to)

    def tag(self, name: str, value: str) -> None:
        self.client.set_tag(self.run_id, f"medpipe.{name}", value)

    def finish(self) -> None:
        self.client.set_terminated(self.run_id, "FINISHED")

    def kill(self) -> None:
        self.client.set_terminated(self.run_id, "KILLED")

    def fail(self, message: str) -> None:
        self.client.set_tag(self.run_id, "medpipe.error", message)
        self.client.set_terminated(self.run_id, "FAILED")

    def write(self, folder: Path) -> None:
        """Write the record by which the run is found, and rebuilt where a store lacks it."""
        with atomic.file(folder / RECORD) as temporary:
            temporary.write_text(json.dumps(self.record | {"ended": _now()}, indent=1))


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _log(client: "MlflowClient", run_id: str, metrics: "list[Metric]") -> None:
    for start in range(0, len(metrics), METRICS):
        client.log_batch(run_id, metrics[start : start + METRICS])


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"network": {"dropout": 0.3}, "mixing": None}` as `{"network.dropout": "0.3", "mixing": "null"}`."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
