"""Where the MLflow store lies, and its experiments. What MLflow keeps of artifacts are absolute places, so the store of
a repository that was moved is mended before it is used.
"""

import functools
import logging
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from medpipe import atomic, quick
from medpipe.errors import InputError

if TYPE_CHECKING:  # the import takes two seconds, so a function that needs MLflow imports it
    from mlflow import MlflowClient

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it announces that it makes its tables

ARTIFACTS = "mlartifacts"
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
KIND = {"mlflow.experimentKind": "custom_model_development"}  # or the UI opens it as one of agents


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


def dvc_cache() -> Path:
    """The cache of the DVC that runs this stage; outside of one, of the current directory's."""
    return _cache_of(os.environ.get("DVC_ROOT") or str(Path.cwd()))


@functools.cache
def _cache_of(repository: str) -> Path:
    from dvc.config import Config

    folder = Path(repository, ".dvc")
    return Path(Config(str(folder))["cache"].get("dir") or folder / "cache").resolve()


def database(path: Path) -> str:
    """The address of the SQLite database `path`, which may hold any character."""
    # Without the driver's name MLflow takes the quoted path for one, and makes its folders.
    return f"sqlite+pysqlite:///{quote(str(path))}"


def connect() -> "MlflowClient":
    """A client of the server that MLFLOW_TRACKING_URI names, else of `<root>/mlflow.db`, made here if need be."""
    with quick.imports():
        from filelock import FileLock
        from mlflow import MlflowClient
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return MlflowClient(tracking_uri=uri)
    path = root() / "mlflow.db"
    # Two workers at once would both make the tables, and one of them fail. A client imports much when it is made;
    # Pygments only for the colours of a template's errors.
    with FileLock(path.with_name("mlflow.db.lock")), quick.imports("pygments"):
        if not path.exists():
            # MLflow cannot go on with a database in which a kill left some of the tables.
            with atomic.file(path) as new:
                MlflowClient(tracking_uri=database(new)).search_experiments(max_results=1)
        client = MlflowClient(tracking_uri=database(path))
        client.search_experiments(max_results=1)
        _follow(path)
    return client


def address(client: "MlflowClient") -> str:
    """The store's, without a password."""
    return re.sub(r"(?<=://)[^/@]*@", "", client.tracking_uri)


def _follow(path: Path) -> None:
    """Where the database `path` says that artifacts lie below another root, make it say this one, in all or nothing."""
    here = (path.parent / ARTIFACTS).as_uri()
    with closing(sqlite3.connect(path)) as connection, connection:
        known = connection.execute("SELECT name, artifact_location FROM experiments").fetchall()
        roots = {place.removesuffix(f"/{name}") for name, place in known if place.endswith(f"/{ARTIFACTS}/{name}")}
        for there in roots - {here}:
            for table, column in PLACES:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (here, len(there) + 1, len(there) + 1, f"{there}/"),
                )


def experiment(client: "MlflowClient", task: str) -> str:
    """The id of the task's experiment. Its artifacts get a fixed place: MLflow's default is the current directory."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(task)
    if found is None:
        remote = client.tracking_uri.startswith("http")
        try:
            return client.create_experiment(task, None if remote else (root() / ARTIFACTS / task).as_uri(), KIND)
        except MlflowException:  # another worker was first
            found = client.get_experiment_by_name(task)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":  # in the UI; its name stays taken
        try:
            client.restore_experiment(found.experiment_id)
        except MlflowException:  # another worker was first
            if client.get_experiment(found.experiment_id).lifecycle_stage == "deleted":
                raise
    for tag, value in KIND.items() - found.tags.items():  # of one that was made without us
        client.set_experiment_tag(found.experiment_id, tag, value)
    return found.experiment_id
