"""Probe a task's model for shortcuts, as `probes` says: `python stages/probe.py chest`."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

import own_code  # noqa: F401
from medpipe import atomic, backend, recipe, tracking
from medpipe.data.arrays import Dealt, load_task, targets
from medpipe.data.vocabulary import merged_classes
from medpipe.errors import settings_of
from medpipe.models import network
from medpipe.models.predict import predict
from medpipe.params import Task, load
from medpipe.probes import blank, source
from medpipe.probes.report import headline, report
from medpipe.probes.retrain import Halves, retrain


def main(task: Task) -> None:
    params = load()
    settings, (name, *tables) = params.probes[task], params.probes[task].models
    trained = recipe.resolve(params, name)
    backend.start(params.seed, trained.precision, params.deterministic)
    split, prepared = Path("data/split") / task, Path("data/prepared")
    names, merge = Dealt.read(split).classes, trained.merge
    rows, [arrays] = load_task(split, [prepared / key for key in settings.inputs])
    train = np.flatnonzero(rows["set"] == "train")

    _, model = network.read(Path("models") / name)
    evaluate = params.evaluate
    halves = Halves(model, trained, evaluate.flips)
    region = blank.region(arrays, train, settings.box)
    probed = {}
    for probe, blanked in (("blanked", region), ("border", blank.centre(region.shape, 1 - 2 * settings.border))):
        with settings_of(f"models.{name}"):
            probed[probe] = retrain(
                trained, halves, names, split, prepared, blanked, Path(".tmp/probes") / task / probe,
                seed=params.seed, most=recipe.training_rows(params), flips=evaluate.flips,
            )  # fmt: skip
    known = np.flatnonzero(rows["set"].isin(("train", "val", "test")))
    features = predict(halves.extractor, [arrays.inputs], known)["output"]
    told = source.probe(features, rows.iloc[known], settings.folds, settings.c, evaluate.resamples, evaluate.seed)
    classes = merged_classes(names, merge)
    training = Counter(np.array(classes)[targets(rows, names, merge)[train]].tolist())
    tested = {key: _tested(task, key) for key in settings.models}
    found = {"region": settings.model_dump(include={"box", "border"}) | {"share": float(region.mean())}} | report(
        name, tested[name], probed, {key: tested[key] for key in tables}, told, classes, training,
        evaluate, evaluate.seed,
    )  # fmt: skip
    found["run"] = tracking.read(Path("models") / name)["key"]  # they say nothing of another training
    for path, content in ((Path("predictions") / task, found), (Path("metrics") / task, headline(found))):
        with atomic.file(path / "probes.json") as tmp:
            tmp.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    print(f"{task}: {'ALARM: ' * found['alarm']}{found['why']}")


def _tested(task: Task, name: str) -> pd.DataFrame:
    table = pd.read_parquet(Path("predictions") / task / f"{name}.parquet")
    return table[table["set"] == "test"]


if __name__ == "__main__":
    main(sys.argv[1])
