"""Make one model of two trained ones, as `fusions` in params.yaml says: `python stages/fuse.py skin-late`."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medpipe import backend, recipe
from medpipe.data.arrays import load_task, targets
from medpipe.data.vocabulary import VOCABULARY
from medpipe.errors import InputError
from medpipe.models import delivery
from medpipe.params import Cascade, load
from medpipe.training.fuse import chain, fuse
from medpipe.training.run import deliver, tracked


def main(name: str) -> None:
    params = load()
    settings, seed = params.fusions[name], recipe.seed(params)
    backend.start(seed, "float32")
    split = Path("data/split") / settings.task
    rows, arrays = load_task(split, [Path("data/prepared") / key for key in settings.inputs])
    (first, one), (second, two) = (delivery.read(Path("models") / member) for member in settings.members)
    if first.classes != second.classes:
        raise InputError(f"fusions.{name}.members: {first.name} knows {first.classes}, {second.name} {second.classes}")
    labels = targets(rows, VOCABULARY[settings.task].classes, first.settings["merge"])
    train, val = (np.flatnonzero(rows["set"] == part) for part in ("train", "val"))

    described = settings.model_dump(mode="json") | {"seed": seed, "backend": backend.name()}
    described |= {"merge": first.settings["merge"], "members": {m.name: m.settings for m in (first, second)}}
    with tracked(name, settings.task, described, split, arrays) as (run, checkpoint):
        made = replace(first, name=name, threshold=None, settings=described)
        if isinstance(settings, Cascade):
            model, threshold = chain([one, two], arrays[0].inputs, labels, val, settings)
            history = pd.DataFrame()
            made = replace(made, kind="cascade", threshold=threshold)
        else:
            sources = [part.inputs for part in arrays]
            model, history = fuse(
                [one, two], sources, labels, len(first.classes), train, val, settings,
                seed=seed, checkpoint=checkpoint, on_epoch=run.log_epoch,
            )  # fmt: skip
            both = {key: getattr(first, key) + getattr(second, key) for key in ("inputs", "variants", "features")}
            made = replace(made, **both)
        deliver(run, made, model, history)


if __name__ == "__main__":
    main(sys.argv[1])
