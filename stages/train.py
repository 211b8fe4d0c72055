"""Train one model of `models` in params.yaml: `python stages/train.py skin-b4`."""

import json
import sys
from pathlib import Path

from medpipe import backend, recipe
from medpipe.data.arrays import load_task, merged_classes, targets
from medpipe.data.vocabulary import VOCABULARY
from medpipe.errors import InputError
from medpipe.models.build import build
from medpipe.models.delivery import Delivery
from medpipe.params import load
from medpipe.training.batches import Samples
from medpipe.training.fit import fit
from medpipe.training.run import deliver, tracked
from medpipe.training.selection import class_targets, select


def main(name: str) -> None:
    params = load()
    settings, seed = recipe.resolve(params, name), recipe.seed(params)
    backend.start(seed, settings.precision)
    split = Path("data/split") / settings.task
    rows, [arrays] = load_task(split, [Path("data/prepared") / key for key in settings.inputs])
    stats = json.loads((split / "stats.json").read_text())
    names = VOCABULARY[settings.task].classes
    classes, labels = merged_classes(names, settings.merge), targets(rows, names, settings.merge)
    train, val = select(rows, classes, labels, settings, seed, recipe.training_rows(params))
    model = build(settings, arrays.inputs.shape[1:], len(classes), stats)
    segments = len(model.output_shape) == 4
    truth = arrays.masks if segments else class_targets(labels, classes, settings)
    if truth is None:
        raise InputError(
            f"models.{name}: a segmenter, but {arrays.name} has no masks; take the inputs of a task with masks"
        )

    described = settings.model_dump(mode="json") | {
        "seed": seed, "rows": len(train), "backend": backend.name(), "variant": arrays.variant
    }  # fmt: skip
    with tracked(name, settings.task, described, split, [arrays]) as (run, checkpoint):
        fitted, watched = (Samples(arrays.inputs, truth, chosen) for chosen in (train, val))
        history = fit(model, fitted, watched, settings, seed=seed, checkpoint=checkpoint, on_epoch=run.log_epoch)
        delivery = Delivery(
            name=name,
            task=settings.task,
            kind="segmenter" if segments else "classifier",
            classes=classes,
            inputs=settings.inputs,
            variants=(arrays.variant,),
            features=(tuple(arrays.features),),
            stats=stats,
            threshold=None,
            settings=described,
        )
        deliver(run, delivery, model, history)


if __name__ == "__main__":
    main(sys.argv[1])
