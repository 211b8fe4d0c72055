"""The best model of a task as a version of the task's registered model, with the alias that services load it by.

The alias moves to the best model unless the paired difference from the reigning champion, on validation rows that both
have, shows it worse: its interval lies below 0. Where the two cannot be compared, as after another split, it moves, and
the decision says why. A champion that is of no run of ours, registered by hand, is such a one; one that cannot be read
is an error.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from medpipe import tracking
from medpipe.errors import InputError
from medpipe.evaluation.challenge import Contender, challenge, is_worse
from medpipe.params import Compare, Evaluate
from medpipe.registry.models import promote
from medpipe.registry.publish import description

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "champion"


def register(name: str, registered: str, model: Path, metrics: Path, *, champion: bool) -> dict[str, Any]:
    """Register model `name`, delivered in folder `model`, as `registered`; returns what champion.json says of it.

    `champion`: whether the alias moves to it. Raises InputError where its evaluation has not logged it.
    """
    run = tracking.reopen(model)
    values = {key: value for key, value in json.loads(metrics.read_text()).items() if value is not None}
    tags = {"model": name, "medpipe.run": run.key}
    if commit := run.record["tags"].get("mlflow.source.git.commit"):
        tags["git.commit"] = commit
    promote(run, registered, description(run.record, values), tags, ALIAS if champion else None)
    return {"registered": registered, "alias": ALIAS, "name": name, "run": run.key, "metrics": values}


def elect(
    name: str,
    registered: str,
    model: Path,
    metrics: Path,
    compare: Compare,
    evaluate: Evaluate,
    seed: int,
    *,
    move: bool,
) -> dict[str, Any]:
    """Register the best model `name`, and decide between it and the reigning champion; returns champion.json.

    That names the winner as `register` does, and under `decision` says which run challenged which, the figures, and
    why. `move`: whether the alias is to follow. Raises InputError where the model's evaluation has not logged it, where
    it answers for one class alone, and where the reigning champion's run cannot be read.
    """
    run = tracking.reopen(model)
    new = _contender(run.client, run.run_id, f"{name}: run its evaluation")
    if only := new.report.get("only"):
        raise InputError(f"{name} answers for {only} alone and cannot be the champion; elect another model")
    reigning = find_reigning(run.client, registered)
    decision = _decide(run, new, reigning, compare, evaluate, seed)
    found = register(name, registered, model, metrics, champion=move and decision["moves"])
    if not decision["moves"]:
        assert reigning is not None
        values = run.client.get_run(str(reigning.run_id)).data.metrics
        tested = {key.removeprefix("test/"): value for key, value in values.items() if key.startswith("test/")}
        found |= {"name": decision["reigning"], "run": decision["reigning_run"], "metrics": tested}
    return found | {"decision": {"candidate": name, "candidate_run": run.key} | decision}


def nobody(registered: str) -> dict[str, Any]:
    """champion.json of a task whose every model answers for one class alone. The alias stays where it is."""
    decision = {"candidate": None, "moves": False, "why": "every model answers for one class alone"}
    return {"registered": registered, "alias": ALIAS, "name": None, "run": None, "metrics": {}, "decision": decision}


def find_reigning(client: "MlflowClient", registered: str) -> "ModelVersion | None":
    """The version that bears the alias; None where there is none. A store that cannot say is an error.

    Of one that a person registered by hand there may be neither run nor tags.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(registered, ALIAS)
    except MlflowException as error:
        # No such model, and no such alias.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _decide(
    run: tracking.Run,
    new: Contender,
    reigning: "ModelVersion | None",
    compare: Compare,
    evaluate: Evaluate,
    seed: int,
) -> dict[str, Any]:
    """{moves, why, reigning: its name or None}, and of a reigning champion of the same data what `challenge` found."""
    if reigning is None:
        return {"moves": True, "why": "there was no champion", "reigning": None}
    champion = f"{reigning.name}, version {reigning.version}"
    advice = (
        f"{champion}, the champion: `git checkout` and `dvc pull` what made it and start `make ui`, which puts its "
        "files there again, or take the alias from it in MLflow"
    )
    stored = _run(run.client, reigning.run_id, advice) if reigning.run_id else None
    if stored is None or tracking.KEY not in stored.data.tags:
        why = f"{champion}, the champion, was registered by hand, of no run of this pipeline's, and cannot be compared"
        return {"moves": True, "why": why, "reigning": None}
    key, name = stored.data.tags[tracking.KEY], reigning.tags.get("model", stored.info.run_name)
    if key == run.key:
        return {"moves": True, "why": "it is the champion already", "reigning": name}
    about = {"reigning": name, "reigning_run": key}
    if changed := _changed(run.record["tags"], stored.data.tags):
        return {"moves": True, "why": f"{name} was made on other data: {', '.join(changed)}"} | about
    old = _contender(run.client, stored.info.run_id, advice)
    try:
        found = challenge(new, old, compare, evaluate, seed)
    except InputError as error:
        return {"moves": True, "why": f"{name} cannot be compared: {error}"} | about
    worse = is_worse(found)
    bounds = (
        f"(no valid interval: {found['why']})"
        if found["low"] is None
        else f"[{found['low']:+.3f}, {found['high']:+.3f}]"
    )
    why = (
        f"{found['metric']} {found['new']:.3f} against {found['old']:.3f} of {name} on {found['rows']} validation "
        f"rows: {found['difference']:+.3f} {bounds}, {'worse' if worse else 'not shown worse'}"
    )
    return found | about | {"moves": not worse, "why": why}


def _changed(new: dict[str, str], old: dict[str, str]) -> list[str]:
    """The tags of split and data that both runs have and that differ."""
    both = sorted(tag for tag in new.keys() & old.keys() if tag.startswith(("medpipe.split", "medpipe.data.")))
    return [f"{tag.removeprefix('medpipe.')} {old[tag]}, now {new[tag]}" for tag in both if new[tag] != old[tag]]


def _run(client: "MlflowClient", run_id: str, advice: str) -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        raise InputError(f"{advice}; its run cannot be read: {error}") from None


def _contender(client: "MlflowClient", run_id: str, advice: str) -> Contender:
    """The model of a run, by what publish logged with it. Raises InputError with `advice` where that cannot be read."""
    from mlflow.exceptions import MlflowException

    try:
        tables = client.list_artifacts(run_id, "predictions")
        if not tables:
            raise FileNotFoundError("no predictions are logged")
        name = Path(tables[0].path).stem
        with TemporaryDirectory() as folder:
            table = pd.read_parquet(client.download_artifacts(run_id, tables[0].path, folder))
            report = json.loads(Path(client.download_artifacts(run_id, f"report/{name}.json", folder)).read_text())
    except (MlflowException, OSError, ValueError) as error:  # the last: a damaged file
        raise InputError(f"{advice}; its run cannot be read: {error}") from None
    return Contender(name, table, report)
