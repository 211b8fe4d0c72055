"""The MLflow store made to show what the repository holds, as after a fresh clone and `dvc pull`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from medpipe import store, tracking
from medpipe.errors import InputError
from medpipe.exploration import publish as explored
from medpipe.models import external
from medpipe.registry.champions import ALIAS, find_reigning
from medpipe.registry.publish import publish
from medpipe.registry.register import election, register
from medpipe.registry.stored import whole


def restore(root: Path, max_pixels: int) -> Iterator[str]:
    """Rebuild what the store lacks of each model in `root/models` and each exploration, and where no version bears a
    task's alias, give it to the champion. One that is there stays: others may have elected on the same store since.

    Runs come in the order of their trainings, with evaluation, plots and model where evaluate has written those of the
    same run (`run` in its report). Yields a line a model and task, and one a version of ours whose files are gone and
    not to be made of what is here. Where nothing is missing, nothing changes.
    """
    published: dict[str, str] = {}  # name: run
    records = [tracking.read(path.parent) for path in (root / "models").glob(f"*/{tracking.RECORD}")]
    for record in sorted(records, key=lambda record: record["started"]):
        task, name = record["task"], record["name"]
        model, report = root / "models" / name, root / "reports" / task / "models" / f"{name}.json"
        run = tracking.reopen(model)
        metrics, plots = root / "metrics" / task / f"{name}.json", root / "plots" / task / name
        ends = ("parquet", "onnx", "npz")
        predictions, graph, detector = (root / "predictions" / task / f"{name}.{end}" for end in ends)
        if not all(path.exists() for path in (report, metrics, plots, predictions, graph, detector)):
            yield f"{name}: run; not evaluated yet"
        elif json.loads(report.read_text()).get("run") != run.key:
            yield f"{name}: run; its evaluation is of an earlier training"
        elif stale := _stale(graph):
            yield f"{name}: run; {stale}"
        else:
            published[name] = run.key
            places = {"model": model, "metrics": metrics, "report": report, "plots": plots, "predictions": predictions}
            publish(run, **places, graph=graph, detector=detector, max_pixels=max_pixels)
            yield f"{name}: run, evaluation, model"
    for path in sorted((root / explored.RECORDS).glob(f"*/{tracking.RECORD}")):
        task = path.parent.name
        facts, page = (root / "reports" / task / f"exploration.{end}" for end in ("json", "html"))
        plots = root / "plots" / task / "exploration"
        if all(place.exists() for place in (facts, page, plots)):
            explored.publish(tracking.reopen(path.parent), facts=facts, page=page, plots=plots)
            yield f"{task}: exploration"
    for path in sorted((root / "reports").glob("*/champion.json")):
        if (said := restore_champion(root, path, published)) is not None:
            yield said
    client = store.connect()
    for version in client.search_model_versions():
        model_id = str(version.source).removeprefix("models:/")
        if tracking.KEY not in version.tags or "/" in model_id:  # registered by hand; a copy of another version
            continue
        model = client.get_logged_model(model_id)
        if not whole(client, model):
            yield (
                f"{version.name}, version {version.version}: cannot be loaded, its files are gone from "
                f"{model.artifact_location}; `git checkout` and `dvc pull` what made it, and start this again"
            )


def _stale(graph: Path) -> str | None:
    """What is wrong with the files that the ONNX file reads weights from."""
    try:
        external.referred(graph)
    except InputError as error:
        return str(error)
    return None


def restore_champion(root: Path, path: Path, published: Mapping[str, str]) -> str | None:
    """Register the model that champion.json at `path` names; the line that says which version bears the alias."""
    champion, client = json.loads(path.read_text()), store.connect()
    name, registered, run = champion["name"], champion["registered"], champion["run"]
    if name is None:  # every model of the task answers for one class alone, or the first one was refused
        return None
    if published.get(name) != run:
        reigning = find_reigning(client, registered)
        if reigning is not None and reigning.tags.get(tracking.KEY) == run:
            return f"{registered}@{ALIAS}: {name}, of an earlier training"
        place = path.relative_to(root)
        return f"{registered}: the model that {place} names is not here, or not evaluated; `dvc pull` it"
    # The card beside is the candidate's, which a champion that has held its own is not.
    own = champion["decision"]["candidate_run"] == run
    beside = [file for file in (path.with_name("card.md"), path.with_name("claim.md")) if own and file.exists()]
    texts = {file.stem: file.read_text(encoding="utf-8") for file in beside}
    with election(client, registered, name) as renew:
        reigning = find_reigning(client, registered)
        register(name, registered, root, texts, aliases={ALIAS: None} if reigning is None else {}, renew=renew)
    if reigning is None or reigning.tags.get(tracking.KEY) == run:
        return f"{registered}@{ALIAS}: {name}"
    return (
        f"{registered}@{ALIAS} stays with version {reigning.version} ({reigning.tags.get('model', 'made by hand')}); "
        f"`dvc repro --single-item --force register@{path.parent.name}` lets {name} stand for election"
    )
