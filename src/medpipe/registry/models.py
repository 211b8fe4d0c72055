"""Models in MLflow: those logged with a run, and the versions of registered ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from medpipe.errors import InputError
from medpipe.registry.stored import newest_model
from medpipe.serving import package
from medpipe.tracking import Run


def log_model(run: Run, model: Path, max_pixels: int, flips: Sequence[str]) -> str:
    """Package the delivered model in folder `model` and log it with `run`, unless its newest is that. Returns its id.

    Code and settings that come back are logged again, since it is the newest model that is registered.
    """
    digest = package.digest(model, max_pixels, flips)
    found = newest_model(run.client, run.run_id)
    if found is not None and run.client.get_logged_model(found).tags.get("medpipe.digest") == digest:
        return found
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    experiment = run.client.get_run(run.run_id).info.experiment_id
    tags = {"medpipe.digest": digest, "medpipe.run": run.key}
    logged = run.client.create_logged_model(experiment, run.record["name"], run.run_id, tags, run.record["params"])
    with TemporaryDirectory() as name:
        folder = Path(name) / "model"
        about = Model(logged.artifact_location, run.run_id, model_uuid=logged.model_id, model_id=logged.model_id)
        package.save(model, folder, max_pixels, flips, about)
        run.client.log_model_artifacts(logged.model_id, str(folder))
    run.client.finalize_logged_model(logged.model_id, "READY")
    run.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged.model_id


def promote(run: Run, registered: str, tags: Mapping[str, str], alias: str | None) -> None:
    """Make the run's newest model a version of the model `registered`, unless it is one; tag it; move `alias` to it.

    Raises InputError where the run has no logged model.
    """
    import mlflow

    client, model_id = run.client, newest_model(run.client, run.run_id)
    if model_id is None:
        raise InputError(f"{run.record['name']}: no model is logged with its run; run its evaluation")
    if not client.search_registered_models(f"name = '{registered}'"):
        client.create_registered_model(registered)
    source = f"models:/{model_id}"
    versions = {v.source: v.version for v in client.search_model_versions(f"name = '{registered}'")}
    if source not in versions:
        mlflow.set_tracking_uri(client.tracking_uri)  # where the next call looks for the source, not in its own store
        versions[source] = client.create_model_version(registered, source, run.run_id, model_id=model_id).version
    for key, value in tags.items():
        client.set_model_version_tag(registered, versions[source], key, value)
    if alias is not None:
        client.set_registered_model_alias(registered, alias, versions[source])
