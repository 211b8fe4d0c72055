"""Which model of the MLflow store a name means. Nothing here writes: trainings read other runs' models by it."""

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from medpipe import atomic, store
from medpipe.errors import SettingError
from medpipe.models import delivery
from medpipe.serving import manifest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


@dataclass(frozen=True)
class Stored:
    """A logged model: its id, its run's, its version where it was asked for as a registered one, its Keras file."""

    model: str
    run: str
    version: str | None
    file: Path


@functools.cache
def find(name: str) -> Stored:
    """The model that `runs:/<run id>`, `models:/<name>@<alias>` or `models:/<name>/<version>` means.

    Asked once a process, since an alias moves: what a run says of its weights is what it was begun with. Raises
    SettingError where the store has no such run, version or alias, and where there is no Keras model.
    """
    from mlflow.exceptions import MlflowException

    client = store.connect()
    scheme, _, path = name.partition(":/")
    model: str | None
    version = None
    try:
        if scheme == "runs":
            model = newest_model(client, path)
        else:
            registered, sign, which = path.partition("@") if "@" in path else path.partition("/")
            get = client.get_model_version_by_alias if sign == "@" else client.get_model_version
            found = get(registered, which)
            version = str(found.version)
            # As registry.models registers it; `model_id` is not filled in.
            model = str(found.source).removeprefix("models:/")
        if model is None:
            raise SettingError(f"network.weights: {name}: no model is logged with it; run its evaluation")
        logged = client.get_logged_model(model)
    except MlflowException as error:
        raise SettingError(
            f"network.weights: {name}: {store.address(client)} has none ({error.message}); give runs:/<run id>, "
            "models:/<name>@<alias> or models:/<name>/<version> of what `make ui` shows"
        ) from None
    return Stored(model, str(logged.source_run_id), version, _file(client, name, logged))


def newest_model(client: "MlflowClient", run_id: str) -> str | None:
    """The id of the newest model that is logged whole with a run; or None."""
    return next((model.model_id for model in _logged(client, run_id) if model.status == "READY"), None)


def logged_model(client: "MlflowClient", run_id: str, digest: str) -> "LoggedModel | None":
    """The newest model logged with a run, or begun to be, where it has that `digest`; or None.

    An older one of the digest does not count, since it is the newest that is registered.
    """
    newest = next(iter(_logged(client, run_id)), None)
    return newest if newest is not None and newest.tags.get("medpipe.digest") == digest else None


def whole(client: "MlflowClient", model: "LoggedModel") -> bool:
    """Whether the store has the files of a logged model of ours, by its manifest, and not its entry alone."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    def files(folder: str | None = None) -> Iterator[str]:
        for found in client.list_logged_model_artifacts(model.model_id, folder):
            yield from files(found.path) if found.is_dir else (found.path,)

    try:
        with TemporaryDirectory() as folder:
            place = f"{model.artifact_location}/{manifest.FILE}"
            listed = download_artifacts(place, dst_path=folder, tracking_uri=client.tracking_uri)
            return json.loads(Path(listed).read_text()).keys() <= {*files()}
    except (MlflowException, OSError, ValueError):  # the last: a damaged one
        return False


def _logged(client: "MlflowClient", run_id: str) -> "Sequence[LoggedModel]":
    experiment = client.get_run(run_id).info.experiment_id
    newest = [{"field_name": "creation_timestamp", "ascending": False}]
    return client.search_logged_models([experiment], f"source_run_id = '{run_id}'", order_by=newest)


def _file(client: "MlflowClient", name: str, model: "LoggedModel") -> Path:
    """The logged model's `model.keras`: in its place, or for a store elsewhere downloaded once into the repository."""
    from filelock import FileLock
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    data = f"data/{model.name}"
    place = f"{model.artifact_location}/{data}/{delivery.KERAS}"
    if members := client.list_logged_model_artifacts(model.model_id, f"{data}/{delivery.MEMBERS}"):
        raise several(name, (Path(member.path).name for member in members))
    try:
        if place.startswith("file:"):
            return Path(download_artifacts(place, tracking_uri=client.tracking_uri))
        kept = store.root() / ".tmp" / "weights" / model.model_id
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):  # two trainings at once may want the same
            if not kept.exists():
                with atomic.folder(kept) as folder:
                    download_artifacts(place, dst_path=str(folder), tracking_uri=client.tracking_uri)
        return kept / delivery.KERAS
    except (MlflowException, OSError) as error:
        raise SettingError(f"network.weights: {name}: {place} cannot be had: {error}") from None


def several(name: str, parts: Iterable[str]) -> SettingError:
    """The error for weights of a model that is made of others."""
    return SettingError(
        f"network.weights: {name} is made of several models ({', '.join(parts)}): give one of those that is a "
        "classifier on the same backbone"
    )
