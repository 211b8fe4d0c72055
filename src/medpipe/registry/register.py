"""The best model of a task as a version of the task's registered model, with the alias that services load it by.

The alias moves to the best model unless the paired difference from the reigning champion, on validation rows that both
have, shows it worse: its interval lies below 0. Where the two cannot be compared, as after another split, it moves, and
the decision says why.
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
    why. `move`: whether the alias is to follow. Raises InputError where the model's evaluation has not logged it.
    """
    run = tracking.reopen(model)
    reigning = find_reigning(run.client, registered)
    decision = _decide(run, reigning, compare, evaluate, seed)
    found = register(name, registered, model, metrics, champion=move and decision["moves"])
    if not decision["moves"]:
        assert reigning is not None
        tested = {key.removeprefix("test/"): v for key, v in reigning.data.metrics.items() if key.startswith("test/")}
        found |= {"name": decision["reigning"], "run": reigning.data.tags["medpipe.run"], "metrics": tested}
    return found | {"decision": {"candidate": name, "candidate_run": run.key} | decision}


def nobody(registered: str) -> dict[str, Any]:
    """champion.json of a task whose every model answers for one class alone. The alias stays where it is."""
    decision = {"candidate": None, "moves": False, "why": "every model answers for one class alone"}
    return {"registered": registered, "alias": ALIAS, "name": None, "run": None, "metrics": {}, "decision": decision}


def find_reigning(client: "MlflowClient", registered: str) -> "Run | None":
    """The run of the version that bears the alias; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(str(client.get_model_version_by_alias(registered, ALIAS).run_id))
    except MlflowException:
        return None


def _decide(
    run: tracking.Run, reigning: "Run | None", compare: Compare, evaluate: Evaluate, seed: int
) -> dict[str, Any]:
    """{moves, why, reigning: its name or None}, and of a reigning champion of the same data what `challenge` found."""
    if reigning is None:
        return {"moves": True, "why": "there was no champion", "reigning": None}
    if reigning.data.tags.get("medpipe.run") == run.key:
        return {"moves": True, "why": "it is the champion already", "reigning": run.record["name"]}
    try:
        old = _contender(run.client, reigning.info.run_id)
    except InputError as error:
        return {"moves": True, "why": f"the reigning champion cannot be compared: {error}", "reigning": None}
    about = {"reigning": old.name, "reigning_run": reigning.data.tags["medpipe.run"]}
    if changed := _changed(run.record["tags"], reigning.data.tags):
        return {"moves": True, "why": f"{old.name} was made on other data: {', '.join(changed)}"} | about
    new = _contender(run.client, run.run_id)
    try:
        found = challenge(new, old, compare, evaluate, seed)
    except InputError as error:
        return {"moves": True, "why": f"{old.name} cannot be compared: {error}"} | about
    worse = is_worse(found)
    bounds = "" if found["low"] is None else f" [{found['low']:+.3f}, {found['high']:+.3f}]"
    why = (
        f"{found['metric']} {found['new']:.3f} against {found['old']:.3f} of {old.name} on {found['rows']} validation "
        f"rows: {found['difference']:+.3f}{bounds}, {'worse' if worse else 'not shown worse'}"
    )
    return {"moves": not worse, "why": why} | about | found


def _changed(new: dict[str, str], old: dict[str, str]) -> list[str]:
    """The tags of split and data that both runs have and that differ."""
    both = sorted(tag for tag in new.keys() & old.keys() if tag.startswith(("medpipe.split", "medpipe.data.")))
    return [f"{tag.removeprefix('medpipe.')} {old[tag]}, now {new[tag]}" for tag in both if new[tag] != old[tag]]


def _contender(client: "MlflowClient", run_id: str) -> Contender:
    """The model of a run, by what publish logged with it. Raises InputError where that is not there."""
    from mlflow.exceptions import MlflowException

    try:
        tables = client.list_artifacts(run_id, "predictions")
        if not tables:
            raise InputError("no predictions are logged with its run")
        name = Path(tables[0].path).stem
        with TemporaryDirectory() as folder:
            table = pd.read_parquet(client.download_artifacts(run_id, tables[0].path, folder))
            report = json.loads(Path(client.download_artifacts(run_id, f"report/{name}.json", folder)).read_text())
    except (MlflowException, OSError) as error:
        raise InputError(f"its artifacts cannot be had: {error}") from None
    return Contender(name, table, report)
