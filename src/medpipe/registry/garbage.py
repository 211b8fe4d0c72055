"""What experiments left that DVC no longer knows: runs and artifacts in MLflow, checkpoints, copies, DVC's cache.

DVC knows an experiment by its name (`dvc exp list --all-commits`, its queue), and by its outputs, which the workspace
or a commit of any branch or tag may hold. What is registered stays, and so do searches and runs of no experiment.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from filelock import FileLock

from medpipe import processes, tracking
from medpipe.errors import InputError
from medpipe.params import FILES
from medpipe.studies.copies import FOLDER
from medpipe.studies.results import references

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

SCOPE = {"all_commits": True, "all_experiments": True}  # of what DVC keeps beside the workspace
EXPERIMENT = "medpipe.experiment"
ALL = 3  # MLflow's ViewType.ALL: with what was deleted in the UI, or by a call of this that was killed


@contextmanager
def locked(root: Path) -> Iterator[Repo]:
    """DVC's repository at `root`, which no other DVC can use meanwhile.

    Raises InputError where a DVC or a stage runs there or in a copy below, and where the cache lies elsewhere.
    """
    with Repo(str(root)) as repo:
        try:
            with lock_repo(repo):
                if busy := next(_running(root), None):
                    raise InputError(f"{root}: process {busy.pid} ({' '.join(busy.cmdline())}) runs; wait for its end")
                if not Path(repo.cache.local.path).is_relative_to(root):
                    raise InputError(f"{repo.cache.local.path}: DVC's cache lies outside {root}, and others may use it")
                yield repo
        except LockError:
            raise InputError(f"{root}: another DVC is at work; wait for its end") from None


def _running(root: Path) -> Iterator[psutil.Process]:
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            script = any(Path(part).parent.name == "stages" for part in process.cmdline()[:3])
            if (script or processes.is_dvc(process)) and process.pid not in own and processes.runs_in(process, root):
                yield process


@dataclass(frozen=True)
class Garbage:
    """Runs and their models, folders of checkpoints and of copies of the repository, files of DVC's cache."""

    runs: "Sequence[Run]"
    models: "Sequence[LoggedModel]"
    checkpoints: Sequence[Path]
    copies: Sequence[Path]
    objects: Sequence[Path]

    @property
    def experiments(self) -> list[str]:
        tags = [run.data.tags for run in self.runs] + [tracking.read(folder)["tags"] for folder in self.checkpoints]
        return sorted({found[EXPERIMENT] for found in tags})

    def sizes(self) -> dict[str, int]:
        """Bytes that the disk gets back, by kind. Those of a file with several links count where its last one goes."""
        artifacts = [_place(run.info.artifact_uri) for run in self.runs]
        artifacts += [_place(model.artifact_location) for model in self.models]
        kinds = {
            "MLflow's artifacts": artifacts,
            "checkpoints": self.checkpoints,
            "abandoned copies": self.copies,
            "DVC's cache": self.objects,
        }
        links: Counter[tuple[int, int]] = Counter()
        freed = dict.fromkeys(kinds, 0)
        for kind, places in kinds.items():
            for path in (path for place in places for path in (place, *place.rglob("*")) if path.is_file()):
                status = path.lstat()
                links[file := (status.st_dev, status.st_ino)] += 1
                if links[file] == status.st_nlink:
                    freed[kind] += status.st_size
        return freed


def find(root: Path, repo: Repo) -> Garbage:
    """What may be removed of the project `root`; of a store that MLFLOW_TRACKING_URI names nothing, since other
    repositories write to it, and their experiments are not known here.
    """
    cache, queue = repo.cache.local, repo.experiments.celery_queue
    used = {info.value for infos in repo.used_objs(**SCOPE).values() for info in infos}
    entries = [*queue.iter_queued(), *queue.iter_active(), *(failed.entry for failed in queue.iter_failed())]
    names = {*references(root), *(entry.name for entry in entries)}
    keys = {key for oid in used if oid.endswith(".dir") and (key := _key(cache, oid))}

    def unknown(tags: dict[str, str]) -> bool:
        return EXPERIMENT in tags and tags[EXPERIMENT] not in names and tags[tracking.KEY] not in keys

    runs: list[Run] = []
    models: list[LoggedModel] = []
    if "MLFLOW_TRACKING_URI" not in os.environ:
        client = tracking.connect()
        experiments = [one.experiment_id for one in _pages(client.search_experiments, view_type=ALL)]
        stored = [*_pages(client.search_runs, experiment_ids=experiments, run_view_type=ALL)]
        kept = _registered(client) | {run.data.tags.get("mlflow.parentRunId", "") for run in stored}
        runs = [run for run in stored if unknown(run.data.tags) and run.info.run_id not in kept]
        runs = _unnamed(runs, stored, "".join((root / file).read_text() for file in FILES))
        keys |= {run.data.tags.get(tracking.KEY, "") for run in stored if run not in runs}
        for run in runs:
            query = f"source_run_id = '{run.info.run_id}'"
            models += _pages(client.search_logged_models, experiment_ids=[run.info.experiment_id], filter_string=query)
    checkpoints = []
    for folder in (root / ".tmp/checkpoints").glob("*/"):
        with suppress(InputError):  # killed before its record was written
            if unknown(tracking.read(folder)["tags"]):
                checkpoints.append(folder)
    copies = [*(root / FOLDER).glob("*/"), *(root / ".dvc/tmp/exps").glob("*/tmp*/")]
    return Garbage(
        runs, models, checkpoints, copies, [Path(cache.oid_to_path(x)) for x in cache.all() if x not in used]
    )


def remove(garbage: Garbage, repo: Repo) -> None:
    """Killed in the middle, the next `find` gives what is left: an entry in MLflow goes after its files."""
    for model in garbage.models:
        _remove_artifacts(model.artifact_location)
    for run in garbage.runs:
        _remove_artifacts(run.info.artifact_uri)
    if garbage.runs:
        # As `mlflow gc` does, which would also empty the bin of the UI.
        store = tracking.connect()._tracking_client.store
        for model in garbage.models:
            store._hard_delete_logged_model(model.model_id)
        for run in garbage.runs:
            store._hard_delete_run(run.info.run_id)
    for folder in garbage.checkpoints:
        with FileLock(folder.with_suffix(".lock")):
            shutil.rmtree(folder)
    for folder in garbage.copies:
        shutil.rmtree(folder)
    if garbage.objects:
        repo.gc(**SCOPE)


def _key(cache: Any, oid: str) -> str | None:
    """The key of the run whose record lies in the folder that the object of DVC's `cache` lists."""
    with suppress(FileNotFoundError):  # not pulled
        for entry in json.loads(Path(cache.oid_to_path(oid)).read_text()):
            if entry["relpath"] == tracking.RECORD:
                return json.loads(Path(cache.oid_to_path(entry["md5"])).read_text())["key"]
    return None


def _registered(client: "MlflowClient") -> set[str]:
    """The ids of the runs that versions of registered models come from."""
    run_ids = set()
    for version in _pages(client.search_model_versions):
        run_ids.add(version.run_id)
        if model := re.fullmatch(r"models:/(m-\w+)", str(version.source)):
            run_ids.add(client.get_logged_model(model[1]).source_run_id)
    return run_ids


def _unnamed(runs: "list[Run]", stored: "Sequence[Run]", values: str) -> "list[Run]":
    """The `runs` whose weights are named neither in the files' `values` nor in parameters of others of `stored`."""
    unused = {run.info.run_id: run for run in runs}
    texts = [values, *(value for run in stored if run.info.run_id not in unused for value in run.data.params.values())]
    while texts:
        for named in re.findall(r"runs:/(\w+)", texts.pop()):
            if run := unused.pop(named, None):
                texts += run.data.params.values()
    return [*unused.values()]


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """All that a search of MLflow's finds, which gives a page at a time."""
    page = search(**arguments)
    yield from page
    while page.token:
        page = search(**arguments, page_token=page.token)
        yield from page


def _place(uri: str) -> Path:
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(uri))


def _remove_artifacts(uri: str) -> None:
    place = _place(uri)
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):  # the folder of the run or model itself
        place.parent.rmdir()
