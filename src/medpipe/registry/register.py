"""The best model of a task as a version of the task's registered model, with the alias that services load it by.

Every best model becomes a version. The alias moves to it if it meets the conditions of `registry.<task>.gate`, against
the reigning champion and the best champion so far on the same test rows; else the version says in its tag `gate` why
not, and the alias stays. A champion of other data is measured on those test rows that it has not seen. Where there is
no champion, the other conditions hold; a first model that does not meet them leaves the task without one. A champion
that is of no run of ours, registered by hand, cannot be compared; one that cannot be read is an error.

Of all processes that share the store, one holds an election of a registered model at a time.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medpipe import tracking
from medpipe.errors import InputError
from medpipe.params import Params
from medpipe.registry.champions import ALIAS, BEST, Candidate, challenge_champions, contender, find_champions
from medpipe.registry.gate import conditions, refusal
from medpipe.registry.models import promote
from medpipe.registry.publish import description
from medpipe.store_lock import hold

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHOWN = 5000  # characters of a version's description, which is all that MLflow's store takes


def election(client: "MlflowClient", registered: str, name: str) -> AbstractContextManager[Callable[[], None]]:
    """Hold the elections of `registered`, for model `name`; as `store_lock.hold`."""
    return hold(client, f"{registered}.elections", f"the election of {name} for {registered}")


def register(
    name: str,
    registered: str,
    root: Path,
    texts: Mapping[str, str],
    *,
    aliases: Mapping[str, str | None],
    gate: str | None = None,
    renew: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Register model `name` of the repository `root` as `registered`; returns what champion.json says of it.

    `aliases`: those that move, each to the version of its number, None for the one that is registered here; `renew`, of
    the `election` within which this is called, is asked right before. `texts`, {card, claim}, are logged with its run,
    the card becomes the version's description, `gate` its tag. The split's rows are logged as well, by which a later
    model of another split can be compared with it. Raises InputError where its evaluation has not logged it, and as
    `renew` does.
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
    version = promote(run, registered, about, tags)
    if renew is not None:
        renew()
    for alias, number in aliases.items():
        run.client.set_registered_model_alias(registered, alias, number or version)
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
    which run challenged which (`rival`, in words), the figures, the same of the best champion so far (`best`, None
    where that is the reigning one), to which the margin is anchored (`anchor`), how many models were elected on these
    test rows (`elections`), each condition and why. `probes`: probes.json, None where none were run; `texts`: {card,
    claim} of the decision. `move`: whether the alias is to follow.

    Raises InputError where the model's evaluation has not logged it, where it answers for one class alone, and where
    the run of the reigning or the best champion cannot be read.
    """
    run = tracking.reopen(root / "models" / name)
    registered = params.registry[task]
    candidate = Candidate(run, contender(run.client, run.run_id, f"{name}: run its evaluation"), task, root, params)
    if only := candidate.model.report.get("only"):
        raise InputError(f"{name} answers for {only} alone and cannot be the champion; elect another model")
    with election(run.client, registered.name, name) as renew:
        while True:
            champions = find_champions(run.client, registered.name)
            about, rivals, ahead = challenge_champions(candidate, champions)
            if find_champions(run.client, registered.name).numbers == champions.numbers:
                break  # else a person has moved an alias meanwhile
        found = conditions(task, registered.gate, candidate.model.report, probes, rivals)
        refused = refusal(found)
        about |= {"candidate": name, "candidate_run": run.key, "elections": _elections(run, registered.name)}
        decision = about | {"moves": not refused, "why": f"refused: {refused}" if refused else about["rival"]}
        decision["conditions"] = found
        # The best first: killed between the two, no lower one is the anchor.
        aliases = {BEST: ahead, ALIAS: None} if move and not refused else {}
        gate = f"refused: {refused}" if refused else "passed"
        said = register(name, registered.name, root, texts(decision), aliases=aliases, gate=gate, renew=renew)
    if refused and champions.reigning is not None and about["reigning_run"]:
        values = run.client.get_run(str(champions.reigning.run_id)).data.metrics
        tested = {key.removeprefix("test/"): value for key, value in values.items() if key.startswith("test/")}
        said |= {"name": about["reigning"], "run": about["reigning_run"], "metrics": tested}
    elif refused:
        said |= {"name": None, "run": None, "metrics": {}}
    return said | {"decision": decision}


def nobody(registered: str) -> dict[str, Any]:
    """champion.json of a task whose every model answers for one class alone. The alias stays where it is."""
    decision = {"candidate": None, "moves": False, "why": "every model answers for one class alone"}
    return {"registered": registered, "alias": ALIAS, "name": None, "run": None, "metrics": {}, "decision": decision}


def _elections(run: tracking.Run, registered: str) -> int:
    """How many trained models, that of `run` included, are versions of `registered` and were judged on its split."""
    versions = run.client.search_model_versions(f"name = '{registered}'")
    ids = {run.run_id, *(version.run_id for version in versions if version.run_id)}
    listed = ", ".join(f"'{run_id}'" for run_id in sorted(ids))
    same = f"attributes.run_id IN ({listed}) AND tags.`medpipe.split` = '{run.record['tags']['medpipe.split']}'"
    experiment = run.client.get_run(run.run_id).info.experiment_id
    return len(run.client.search_runs([experiment], same, max_results=len(ids)))
