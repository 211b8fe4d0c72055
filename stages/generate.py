"""Train one generator of `generators` in generation.yaml: `python stages/generate.py skin-sagan`."""

import sys
from pathlib import Path

import numpy as np

import own_code  # noqa: F401
from medpipe import backend, recipe
from medpipe.data.arrays import Dealt
from medpipe.errors import settings_of
from medpipe.fingerprint import fingerprint
from medpipe.generation import gallery
from medpipe.generation.assemble import assemble
from medpipe.generation.deliver import deliver
from medpipe.generation.features import build
from medpipe.generation.train import Judge, fit
from medpipe.params import load
from medpipe.training.run import read_from, tracked
from medpipe.training.selection import thin


def main(name: str) -> None:
    params = load()
    settings, most = recipe.resolve_generator(params, name), recipe.training_rows(params)
    backend.start(settings.seed, "float32", params.deterministic)
    split, prepared = Path("data/split") / settings.task, Path("data/prepared")
    with settings_of(f"generators.{name}"):
        reading = assemble(settings, Dealt.read(split).classes, split, prepared, most)
        learner = reading.learner()
        extractor = build(settings.features, recipe.pretrained(params), reading.side)
    described = reading.described(params.deterministic) | {"feature_network": extractor.name}
    code = fingerprint(Path(__file__).resolve(), settings.kind)
    tags = read_from(split, [reading.arrays])
    with tracked(Path("generators") / name, settings.task, described, tags, code) as begun:
        if begun is None:
            return
        run, checkpoint = begun
        canvases = checkpoint.parent / "canvas"

        def measured(step: int, row: dict[str, float], images: np.ndarray) -> None:
            run.log_epoch(step, row)
            path = canvases / f"step-{step:06}.png"
            gallery.save(path, images, len(images) // len(reading.classes))
            run.log_artifacts(path, "canvas")

        judged = thin(reading.train, reading.labels, settings.judged, settings.seed)
        judge = Judge(reading.samples, judged, extractor, settings)
        history = fit(
            learner, reading.samples, settings, judge,
            name=name, checkpoint=checkpoint, fingerprint=code, on_measure=measured,
        )  # fmt: skip
        deliver(run, name, learner.drawn, described, history, canvases)


if __name__ == "__main__":
    main(sys.argv[1])
