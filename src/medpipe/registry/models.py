"""Models in MLflow: those logged with a run, and the versions of registered ones."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medpipe.errors import InputError
from medpipe.registry.stored import logged_model, newest_model, whole
from medpipe.serving import package
from medpipe.store_lock import create_once, hold
from medpipe.tracking import LOCK, Run, log_model_files


def log_model(run: Run, model: Path, max_pixels: int, served: Mapping[str, Any]) -> str:
    """Package the delivered model in folder `model` and log it with `run`, unless that has it. Returns its id.

    What a kill left undone is done, and files that are gone from the store are put there again.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    client, digest = run.client, package.digest(model, max_pixels, served)
    logged = logged_model(client, run.run_id, digest)
    if logged is None:
        experiment = client.get_run(run.run_id).info.experiment_id
        tags = {"medpipe.digest": digest, "medpipe.run": run.key}
        with hold(client, LOCK, f"the model of {run.record['name']}, which begins"):
            logged = logged_model(client, run.run_id, digest) or client.create_logged_model(
                experiment, run.record["name"], run.run_id, tags, run.record["params"]
            )
    ready = logged.status == LoggedModelStatus.READY
    if not (ready and whole(client, logged)):
        with TemporaryDirectory() as name:
            folder = Path(name) / "model"
            about = Model(logged.artifact_location, run.run_id, model_uuid=logged.model_id, model_id=logged.model_id)
            package.save(model, folder, max_pixels, served, about)
            files = [file for file in model.rglob("*") if file.is_file()]
            originals = {f"data/{model.name}/{file.relative_to(model)}": file.resolve() for file in files}
            log_model_files(client, logged, folder, originals)
    if not ready:
        client.finalize_logged_model(logged.model_id, "READY")
    outputs = client.get_run(run.run_id).outputs
    if logged.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else ())}:
        client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged.model_id


def promote(run: Run, registered: str, about: str, tags: Mapping[str, str]) -> str:
    """Make the run's newest model a version of the model `registered`, unless it is one; returns the version's number.

    `about` becomes its description, beside `tags`; its figures are its logged model's metrics. To be called where no
    other process registers versions of it, or one model may become two.

    Raises InputError where the run has no logged model.
    """
    import mlflow

    client, model_id = run.client, newest_model(run.client, run.run_id)
    if model_id is None:
        raise InputError(f"{run.record['name']}: no model is logged with its run; run its evaluation")
    about_all = f"The best model of the task {run.record['task']} that was evaluated: `models:/{registered}@champion`."
    create_once(lambda: client.create_registered_model(registered, description=about_all))
    source = f"models:/{model_id}"
    versions = {v.source: v.version for v in client.search_model_versions(f"name = '{registered}'")}
    if source not in versions:
        mlflow.set_tracking_uri(client.tracking_uri)  # where the next call looks for the source, not in its own store
        versions[source] = client.create_model_version(registered, source, run.run_id, model_id=model_id).version
    client.update_model_version(registered, versions[source], about)
    for key, value in tags.items():
        client.set_model_version_tag(registered, versions[source], key, value)
    return str(versions[source])
