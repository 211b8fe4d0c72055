"""The champions of a task, and what a candidate has to show against them: the reigning one, and the best one so far.

The gate's margin is anchored to the best, or the margins of many elections would add up. The best keeps an alias of its
own until a champion comes that is not behind it on the rows on which both may be judged.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from medpipe import tracking
from medpipe.errors import InputError
from medpipe.evaluation.challenge import Contender, challenge
from medpipe.params import Params
from medpipe.registry.gate import Rival, against
from medpipe.registry.unseen import on_unseen_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

ALIAS, BEST = "champion", "best"


@dataclass(frozen=True)
class Candidate:
    """The best model of the task of the repository `root`: its run, and what that has logged."""

    run: tracking.Run
    model: Contender
    task: str
    root: Path
    params: Params


@dataclass(frozen=True)
class Champions:
    """The versions with the two aliases; `best` is None, too, where it is the reigning one, or has no alias."""

    reigning: "ModelVersion | None"
    best: "ModelVersion | None"

    @property
    def numbers(self) -> list[str]:
        return [str(version.version) if version else "" for version in (self.reigning, self.best)]


class Against(NamedTuple):
    """The candidate against a champion: the latter's name and its run's key, None of a version that a person made; what
    `challenge` found, or why the two cannot be compared, None where it is the candidate itself; the same in words.
    """

    name: str | None
    run: str | None
    rival: Rival | None
    words: str


def find_reigning(client: "MlflowClient", registered: str, alias: str = ALIAS) -> "ModelVersion | None":
    """The version that bears the alias; None where there is none. A store that cannot say is an error.

    Of one that a person registered by hand there may be neither run nor tags.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(registered, alias)
    except MlflowException as error:
        # No such model, and no such alias.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def find_champions(client: "MlflowClient", registered: str) -> Champions:
    """Those of the model `registered`. A store that cannot say is an error."""
    reigning, best = (find_reigning(client, registered, alias) for alias in (ALIAS, BEST))
    same = reigning is not None and best is not None and reigning.version == best.version
    return Champions(reigning, None if same else best)


def challenge_champions(
    candidate: Candidate, champions: Champions
) -> tuple[dict[str, Any], dict[str, Rival], str | None]:
    """What the decision says of the champions; their `rivals` for the gate; the number of the version that stays
    the best if the candidate becomes champion, None where that is the candidate.
    """
    about: dict[str, Any] = {"rival": "there was no champion", "reigning": None, "reigning_run": None}
    about |= {"best": None, "anchor": None}
    rivals: dict[str, Rival] = {}
    ahead: str | None = None
    named = (champions.reigning, "the champion", ALIAS), (champions.best, "the best champion so far", BEST)
    for version, title, alias in named:
        if version is None:
            continue
        found = _against(candidate, version, title, alias)
        figures = found.rival if isinstance(found.rival, dict) else {}
        if alias == ALIAS:
            about |= {"rival": found.words, "reigning": found.name, "reigning_run": found.run} | figures
        else:
            about["best"] = {"name": found.name, "run": found.run, "rival": found.words} | figures
        about["anchor"] = f"{found.name or version.name}, version {version.version}, {title}"
        if found.rival is not None:
            rivals[title] = found.rival
        if not isinstance(found.rival, str):  # one that cannot be compared leaves it to the other
            not_behind = found.rival is None or (figures["difference"] is not None and figures["difference"] >= 0)
            ahead = None if not_behind else str(version.version)
    return about, rivals, ahead


def _against(candidate: Candidate, champion: "ModelVersion", title: str, alias: str) -> Against:
    run, params = candidate.run, candidate.params
    named = f"{champion.name}, version {champion.version}, {title}"
    advice = (
        f"{named}: `git checkout` and `dvc pull` what made it and start `make ui`, which puts its files there again, "
        f"or take the alias {alias} from it in MLflow"
    )
    stored = _run(run.client, champion.run_id, advice) if champion.run_id else None
    if stored is None or tracking.KEY not in stored.data.tags:
        why = f"{named}, was registered by hand, of no run of this pipeline's, and cannot be compared"
        return Against(None, None, why, why)
    key, name = stored.data.tags[tracking.KEY], champion.tags.get("model", stored.info.run_name)
    if key == run.key:
        return Against(name, key, None, f"it is {title} already")
    old = contender(run.client, stored.info.run_id, advice)
    changed = ", ".join(_changed(run.record["tags"], stored.data.tags))
    try:
        if changed:
            old = _unseen(candidate, old, champion, stored)
        found = challenge(candidate.model, old, params.compare[candidate.task], params.evaluate, params.evaluate.seed)
    except InputError as error:
        other = f"was made on other data ({changed}) and " if changed else ""
        why = f"{name} {other}cannot be compared: {error}"
        return Against(name, key, why, why)
    rows = f"{name} was made on other data ({changed}) and has not seen these rows: " if changed else ""
    return Against(name, key, found, f"{rows}{against(found)} of {name}")


def _unseen(candidate: Candidate, old: Contender, champion: "ModelVersion", stored: "Run") -> Contender:
    client, task, params = candidate.run.client, candidate.task, candidate.params
    if not client.list_artifacts(stored.info.run_id, "split"):
        raise InputError("which rows trained it is not known")
    with TemporaryDirectory() as folder:
        seen = pd.read_parquet(client.download_artifacts(stored.info.run_id, "split/rows.parquet", folder))
    model_id, data = str(champion.source).removeprefix("models:/"), candidate.root / "data"
    return on_unseen_rows(client, model_id, old, seen, task, params.tasks[task], data, params.evaluate.seed)


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


def contender(client: "MlflowClient", run_id: str, advice: str) -> Contender:
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
