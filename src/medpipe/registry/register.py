"""The best model of a task as a version of the task's registered model, with the alias that services load it by.

Every best model becomes a version. The alias moves to it if it meets the conditions of `registry.<task>.gate`, against
the reigning champion on the same test rows; else the version says in its tag `gate` why not, and the alias stays. A
champion of other data is measured on those test rows that it has not seen. Where there is no champion, the other
conditions hold; a first model that does not meet them leaves the task without one. A champion that is of no run of
ours, registered by hand, cannot be compared; one that cannot be read is an error.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from medpipe import tracking
from medpipe.errors import InputError
from medpipe.evaluation.challenge import Contender, challenge
from medpipe.params import Params
from medpipe.registry.gate import against, conditions, refusal
from medpipe.registry.models import promote
from medpipe.registry.publish import description
from medpipe.registry.unseen import on_unseen_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "champion"
SHOWN = 5000  # characters of a version's description, which is all that MLflow's store takes


def register(
    name: str, registered: str, root: Path, texts: Mapping[str, str], *, champion: bool, gate: str | None = None
) -> dict[str, Any]:
    """Register model `name` of the repository `root` as `registered`; returns what champion.json says of it.

    `champion`: whether the alias moves to it. `texts`, {card, claim}, are logged with its run, the card becomes the
    version's description, `gate` its tag. The split's rows are logged as well, by which a later model of another split
    can be compared with it. Raises InputError where its evaluation has not logged it.
    """
    run = tracking.reopen(root / "models" / name)
    task = run.record["task"]
    metrics = json.loads((root / "metrics" / task / f"{name}.json").read_text())
    values = {key: value for key, value in metrics.items() if value is not None}
    tags = {"model": name, "medpipe.run": run.key}
    if commit := run.record["tags"].get("mlflow.source.git.commit"):
        tags["git.commit"] = commit
    if gate is not None:
        tags["gate"] = gate
    rows = root / "data/split" / task / "rows.parquet"
    if rows.exists() and hashlib.sha256(rows.read_bytes()).hexdigest()[:16] == run.record["tags"].get("medpipe.split"):
        run.log_artifacts(rows, "split")
    for text in texts:
        run.client.log_text(run.run_id, texts[text], f"card/{text}.md")
    about = shortened(texts["card"]) if texts else description(run.record, values)
    promote(run, registered, about, tags, ALIAS if champion else None)
    return {"registered": registered, "alias": ALIAS, "name": name, "run": run.key, "metrics": values}


def shortened(card: str) -> str:
    """The card as a version's description: whole sections, and where the rest is."""
    if len(card) <= SHOWN:
        return card
    rest = "\n\nThe rest is the artifact `card/card.md` of the run.\n"
    return card[: card.rindex("\n## ", 0, SHOWN - len(rest))] + rest


def elect(
    name: str,
    task: str,
    root: Path,
    params: Params,
    texts: Callable[[dict[str, Any]], dict[str, str]],
    probes: dict[str, Any] | None,
    *,
    move: bool,
) -> dict[str, Any]:
    """Register the best model `name`, and decide whether it becomes the champion; returns champion.json.

    That names the champion as `register` does, None where there is none of this pipeline's, and under `decision` says
    which run challenged which (`rival`, in words), the figures, each condition and why. `probes`: probes.json, None
    where none were run; `texts`: {card, claim} of the decision. `move`: whether the alias is to follow.

    Raises InputError where the model's evaluation has not logged it, where it answers for one class alone, and where
    the reigning champion's run cannot be read.
    """
    run = tracking.reopen(root / "models" / name)
    registered = params.registry[task]
    new = _contender(run.client, run.run_id, f"{name}: run its evaluation")
    if only := new.report.get("only"):
        raise InputError(f"{name} answers for {only} alone and cannot be the champion; elect another model")
    reigning = find_reigning(run.client, registered.name)
    about, rival = _rival(run, new, reigning, task, root, params)
    found = conditions(task, registered.gate, new.report, probes, rival)
    refused = refusal(found)
    why = f"refused: {refused}" if refused else about["rival"]
    decision = about | {"candidate": name, "candidate_run": run.key, "moves": not refused, "why": why}
    decision["conditions"] = found
    gate = f"refused: {refused}" if refused else "passed"
    said = register(name, registered.name, root, texts(decision), champion=move and not refused, gate=gate)
    if refused and "reigning_run" in about:
        assert reigning is not None
        values = run.client.get_run(str(reigning.run_id)).data.metrics
        tested = {key.removeprefix("test/"): value for key, value in values.items() if key.startswith("test/")}
        said |= {"name": about["reigning"], "run": about["reigning_run"], "metrics": tested}
    elif refused:
        said |= {"name": None, "run": None, "metrics": {}}
    return said | {"decision": decision}


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


def _rival(
    run: tracking.Run, new: Contender, reigning: "ModelVersion | None", task: str, root: Path, params: Params
) -> tuple[dict[str, Any], dict[str, Any] | str | None]:
    """What the decision says of the reigning champion, and what `challenge` found against it, or why that cannot be;
    None where there is no champion but the model itself.
    """
    if reigning is None:
        return {"rival": "there was no champion", "reigning": None}, None
    champion = f"{reigning.name}, version {reigning.version}"
    advice = (
        f"{champion}, the champion: `git checkout` and `dvc pull` what made it and start `make ui`, which puts its "
        "files there again, or take the alias from it in MLflow"
    )
    stored = _run(run.client, reigning.run_id, advice) if reigning.run_id else None
    if stored is None or tracking.KEY not in stored.data.tags:
        why = f"{champion}, the champion, was registered by hand, of no run of this pipeline's, and cannot be compared"
        return {"rival": why, "reigning": None}, why
    key, name = stored.data.tags[tracking.KEY], reigning.tags.get("model", stored.info.run_name)
    about = {"reigning": name, "reigning_run": key}
    if key == run.key:
        return about | {"rival": "it is the champion already"}, None
    old = _contender(run.client, stored.info.run_id, advice)
    changed = ", ".join(_changed(run.record["tags"], stored.data.tags))
    try:
        if changed:
            old = _unseen(run, old, reigning, stored, task, root, params)
        found = challenge(new, old, params.compare[task], params.evaluate, params.evaluate.seed)
    except InputError as error:
        other = f"was made on other data ({changed}) and " if changed else ""
        why = f"{name} {other}cannot be compared: {error}"
        return about | {"rival": why}, why
    rows = f"{name} was made on other data ({changed}) and has not seen these rows: " if changed else ""
    return about | {"rival": f"{rows}{against(found)} of {name}"} | found, found


def _unseen(
    run: tracking.Run,
    old: Contender,
    reigning: "ModelVersion",
    stored: "Run",
    task: str,
    root: Path,
    params: Params,
) -> Contender:
    client = run.client
    if not client.list_artifacts(stored.info.run_id, "split"):
        raise InputError("which rows trained it is not known")
    with TemporaryDirectory() as folder:
        seen = pd.read_parquet(client.download_artifacts(stored.info.run_id, "split/rows.parquet", folder))
    model_id = str(reigning.source).removeprefix("models:/")
    return on_unseen_rows(client, model_id, old, seen, task, params.tasks[task], root / "data", params.evaluate.seed)


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
