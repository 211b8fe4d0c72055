"""Train one model of `models` in params.yaml: `python stages/train.py skin-b4`."""

import sys
from pathlib import Path

import own_code  # noqa: F401
from medpipe import backend, recipe
from medpipe.data.arrays import Dealt
from medpipe.errors import settings_of
from medpipe.fingerprint import fingerprint
from medpipe.params import Params, Recipe, load
from medpipe.training.assemble import assemble
from medpipe.training.fit import fit
from medpipe.training.folds import cross_validate
from medpipe.training.run import deliver, read_from, tracked


def main(name: str) -> None:
    params = load()
    settings, seed = recipe.resolve(params, name), params.seed
    # What a cross-validation says of its folds is measured.
    backend.start(seed, settings.precision, params.deterministic, tf32=settings.folds is None)
    split = Path("data/split") / settings.task
    with settings_of(f"models.{name}"):
        train(name, settings, params, split, seed)


def train(name: str, settings: Recipe, params: Params, split: Path, seed: int) -> None:
    most = recipe.training_rows(params)
    training = assemble(settings, Dealt.read(split).classes, split, Path("data/prepared"), seed, most)
    # First, so that what cannot be built opens no run.
    model = training.build()
    described = training.described(seed, params.deterministic)
    code = fingerprint(Path(__file__).resolve(), settings.architecture)
    tags = read_from(split, training.read)
    with tracked(Path("models") / name, settings.task, described, tags, code) as begun:
        if begun is None:
            return
        run, checkpoint = begun
        delivery = training.delivery(name, described)
        if settings.folds is not None:
            deliver(run, delivery, *cross_validate(
                training, settings.folds, seed=seed, most=most, checkpoint=checkpoint, on_epoch=run.log_epoch
            ))  # fmt: skip
            return
        history = fit(
            model, training.learnt, training.samples(training.val), settings,
            seed=seed, checkpoint=checkpoint, on_epoch=run.log_epoch, classes=training.classes,
        )  # fmt: skip
        deliver(run, delivery, model, history)


if __name__ == "__main__":
    main(sys.argv[1])
