"""Runs in MLflow. Beside this module only registry.models writes to its store, what comes after a training: every
training depends on this file.

A run is known by a key of ours (tag `medpipe.run`), which lies in models/<name>/run.json beside everything that the run
was begun with. MLflow's own id will not do: a store that is made anew gives its runs new ids, and a run that DVC brings
back from its cache, or that a clone pulls, must still be found, or be rebuilt where it is missing.
"""

import hashlib
import json
import logging
import signal
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from medpipe import atomic, provenance
from medpipe.errors import InputError
from medpipe.store import connect, experiment
from medpipe.store_lock import hold

if TYPE_CHECKING:  # the import takes two seconds, so a function that needs MLflow imports it
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel, Metric
    from mlflow.entities import Run as StoredRun

RECORD = "run.json"
KEY, REBUILDING = "medpipe.run", "medpipe.rebuilding"
LOCK = "medpipe.runs"  # of the store, for what is looked for and made where it is missing
METRICS, PARAMS = 1000, 100  # the most that MLflow takes in one call
EPOCH = "epoch/"  # before the names of metrics that have a curve: the UI groups by it, and shows these first


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

    `settings` become the run's parameters, nested ones under dotted names. `tags` say what the settings cannot and are
    stored as `medpipe.<tag>`; `split` and `data.<variant>`, hashes, are its inputs too. The UI shows it below `parent`,
    and under `name`; that of an experiment as `name (experiment)`. A `key` that follows from the result makes one run
    of all that come out the same.
    """
    client = connect()
    if not begun(folder):
        key, params = key or uuid.uuid4().hex, flatten(settings)
        digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]
        own = {f"medpipe.{tag}": value for tag, value in tags.items()} | {KEY: key, "medpipe.settings": digest}
        if parent is not None:
            own["mlflow.parentRunId"] = parent.run_id
        named = {"key": key, "task": task, "name": name, "params": params, "tags": own | provenance.tags()}
        # Before the run is made: killed between the two, none is left that nobody knows.
        _write(folder, named | {"started": _now()})
    record = read(folder)
    # Two may come out the same at once, and MLflow fails where two runs are the first ones of a data set.
    with hold(client, LOCK, f"the run of {name}, which begins"):
        run = Run(client, _open(client, record), record)
    run.resume()
    return run


def reopen(folder: Path) -> "Run":
    """The run of `models/<name>/`; where the store lacks it, rebuilt of its run.json and history.csv.

    Raises InputError where the folder has no run.json.
    """
    client, record = connect(), read(folder)
    found = _find(client, record)
    if found is None or REBUILDING in found.data.tags:  # the latter: another process does, or was killed below
        with hold(client, LOCK, f"the run of {record['name']}, which is rebuilt"):
            found = _find(client, record)
            if found is None or REBUILDING in found.data.tags:
                run_id = _open(client, record | {"tags": record["tags"] | {REBUILDING: "true"}})
                _replay(client, run_id, record, folder / "history.csv")
                client.set_terminated(run_id, "FINISHED", record["ended"])
                client.delete_tag(run_id, REBUILDING)
                return Run(client, run_id, record)
    return Run(client, found.info.run_id, record)


def read(folder: Path) -> dict[str, Any]:
    """What a run was begun with, of its run.json. Raises InputError where that is missing or damaged."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        if "key" not in record:
            raise KeyError("key")
        return record
    except FileNotFoundError:
        raise InputError(f"{folder / RECORD}: not found; train the model, or `dvc pull` it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / RECORD}: damaged ({error}); `dvc pull` the model, or delete the folder and train it"
        ) from None


def begun(folder: Path) -> bool:
    """Whether the folder has a record; a damaged one is passed over with a warning."""
    try:
        return (folder / RECORD).exists() and bool(read(folder))
    except InputError as error:
        print(f"WARNING: {error}; a new run begins", file=sys.stderr, flush=True)
        return False


def abandon(folder: Path, ended: float) -> None:
    """End, as killed at `ended` (seconds since 1970), the run of a training that left its record in `folder` and was
    killed too hard to end it. Other runs, and folders without a record that can be read, are left as they are.
    """
    try:
        record = read(folder)
    except InputError:
        return
    client = connect()
    run = _find(client, record)
    if run is not None and run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id, "KILLED", int(ended * 1000))


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    with atomic.file(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1))


def _find(client: "MlflowClient", record: Mapping[str, Any]) -> "StoredRun | None":
    runs = client.search_runs([experiment(client, record["task"])], f"tags.`{KEY}` = '{record['key']}'", max_results=1)
    return runs[0] if runs else None


def _open(client: "MlflowClient", record: Mapping[str, Any]) -> str:
    """The id of the record's run, made where there is none. One that a kill left half made is completed."""
    from mlflow.entities import Param

    name, tags = record["name"], record["tags"]
    if chosen := tags.get("medpipe.experiment"):  # or all runs of a study would have one name
        name = f"{name} ({chosen})"
    run = _find(client, record) or client.create_run(experiment(client, record["task"]), record["started"], tags, name)
    run_id = run.info.run_id
    params = [Param(key, value) for key, value in record["params"].items()]
    for start in range(0, len(params), PARAMS):
        client.log_batch(run_id, params=params[start : start + PARAMS])
    client.log_inputs(run_id, _inputs(record))
    return run_id


def _inputs(record: Mapping[str, Any]) -> "list[DatasetInput]":
    """Split and prepared data that the tags have hashes of, by their places in the repository."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    task, found = record["task"], []
    for tag, digest in record["tags"].items():
        if tag == "medpipe.split":
            name, place = f"{task} split", f"data/split/{task}"
        elif tag.startswith("medpipe.data."):
            name = tag.removeprefix("medpipe.data.")
            place = f"data/prepared/{name}"
        else:
            continue
        dataset = Dataset(name, digest, "local", json.dumps({"uri": place}))
        found.append(DatasetInput(dataset, [InputTag("mlflow.data.context", "training")]))
    return found


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
    """A run of the store. As a context it ends finished, failed (an exception) or killed (Ctrl-C, SIGTERM), and logs
    every ten seconds and at its end what the machine does, as `system/<name>`.
    """

    def __init__(self, client: "MlflowClient", run_id: str, record: dict[str, Any]) -> None:
        self.client, self.run_id, self.record = client, run_id, record
        self.key: str = record["key"]
        self._epochs: set[tuple[str, int]] = set()

    def __enter__(self) -> Self:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._handler = signal.signal(signal.SIGTERM, _terminate)
        logging.getLogger(SystemMetricsMonitor.__module__).setLevel(logging.WARNING)  # it announces its start and end
        self._monitor = SystemMetricsMonitor(self.run_id, resume_logging=True, tracking_uri=self.client.tracking_uri)
        self._monitor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        signal.signal(signal.SIGTERM, self._handler)
        self._monitor.finish()
        for part in self._monitor.monitors:  # of the time since the last sample alone
            part.clear_metrics()
        self._monitor.collect_metrics()
        self._monitor.publish_metrics(self._monitor.aggregate_metrics())
        self._monitor.mlflow_logger.flush()
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

    def describe(self, text: str) -> None:
        """Set what the UI shows as its description, in Markdown."""
        self.client.set_tag(self.run_id, "mlflow.note.content", text)

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
        _write(folder, self.record | {"ended": _now()})


def log_model_files(client: "MlflowClient", model: "LoggedModel", folder: Path, originals: Mapping[str, Path]) -> None:
    """Log what `folder` holds as the files of a logged model; of those linked below it keeps none.

    `originals`: files of the same bytes, by their places in `folder`. Where the artifacts lie on the same disk they
    become hard links to these and take no more of it. So originals must be outputs of DVC's, which nothing writes to
    in place.
    """
    from mlflow.utils.file_utils import local_file_uri_to_path

    for name, original in originals.items() if model.artifact_location.startswith("file:") else ():
        place = Path(local_file_uri_to_path(model.artifact_location)) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # MLflow would write to it, and so to what it is a link to
        try:
            place.hardlink_to(original)
        except FileExistsError:  # another process logs the same
            pass
        except OSError:  # another disk, or one without links
            continue
        (folder / name).unlink()
    client.log_model_artifacts(model.model_id, str(folder))


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
