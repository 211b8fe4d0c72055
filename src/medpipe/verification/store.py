"""Whether MLflow's registry holds what the repository holds of the model that was registered last."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from medpipe import tracking
from medpipe.models import delivery
from medpipe.params import Params, Task
from medpipe.registry.register import shortened
from medpipe.store import connect


def versions(root: Path, task: Task, params: Params) -> Iterator[str]:
    """A line for each thing of it in the registry that differs: the model's files, predictions, report, card."""
    from mlflow.artifacts import download_artifacts

    registered = params.registry[task].name
    name = json.loads((root / "reports" / task / "champion.json").read_text())["decision"]["candidate"]
    if name is None:
        return
    client, key = connect(), tracking.read(root / "models" / name)["key"]
    found = [v for v in client.search_model_versions(f"name = '{registered}'") if v.tags.get(tracking.KEY) == key]
    if not found:
        yield f"{registered}: the registry has no version of {name}'s run {key}; `make ui` or `dvc repro` makes it"
        return
    version = max(found, key=lambda version: int(version.version))
    where = f"{registered}, version {version.version}"
    if version.description != shortened((root / "reports" / task / "card.md").read_text(encoding="utf-8")):
        yield f"{where}: its description is not reports/{task}/card.md; `make ui` sets it"
    logged = client.get_logged_model(str(version.source).removeprefix("models:/"))
    with TemporaryDirectory() as folder:
        for file in delivery.files(root / "models" / name):
            place = f"{logged.artifact_location}/data/{logged.name}/{file}"
            copy = Path(download_artifacts(place, dst_path=folder, tracking_uri=client.tracking_uri))
            if _digest(copy) != _digest(root / "models" / name / file):
                yield f"{where}: its {file} is not models/{name}/{file}"
        for there, here in (
            (f"predictions/{name}.parquet", f"predictions/{task}/{name}.parquet"),
            (f"report/{name}.json", f"reports/{task}/models/{name}.json"),
        ):
            copy = Path(client.download_artifacts(str(version.run_id), there, folder))
            if _digest(copy) != _digest(root / here):
                yield f"{where}: its {there} is not {here}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
