"""Train one model of `models` in params.yaml: `python stages/train.py skin-b4`."""

import sys
from pathlib import Path

from medpipe import backend, recipe
from medpipe.params import load
from medpipe.training.assemble import assemble
from medpipe.training.fit import fit
from medpipe.training.run import deliver, tracked


def main(name: str) -> None:
    params = load()
    settings, seed = recipe.resolve(params, name), recipe.seed(params)
    backend.start(seed, settings.precision)
    split = Path("data/split") / settings.task
    training = assemble(settings, split, Path("data/prepared"), seed, recipe.training_rows(params))
    model = training.build()
    described = training.described(seed)
    with tracked(name, settings.task, described, split, [training.arrays]) as (run, checkpoint):
        train, val = training.samples(training.train), training.samples(training.val)
        history = fit(model, train, val, settings, seed=seed, checkpoint=checkpoint, on_epoch=run.log_epoch)
        deliver(run, training.delivery(name, described), model, history)


if __name__ == "__main__":
    main(sys.argv[1])
