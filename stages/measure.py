"""Draw from a trained generator and measure what it draws: `python stages/measure.py skin-sagan`."""

import sys
from pathlib import Path

import own_code  # noqa: F401
from medpipe import backend, recipe, tracking
from medpipe.data.arrays import Dealt
from medpipe.errors import settings_of
from medpipe.generation import deliver
from medpipe.generation.assemble import assemble
from medpipe.generation.features import build
from medpipe.generation.report import measure
from medpipe.params import load


def main(name: str) -> None:
    params = load()
    settings, most = recipe.resolve_generator(params, name), recipe.training_rows(params)
    backend.start(settings.seed, "float32", params.deterministic)
    split, prepared, folder = Path("data/split") / settings.task, Path("data/prepared"), Path("generators") / name
    with settings_of(f"generators.{name}"):
        reading = assemble(settings, Dealt.read(split).classes, split, prepared, most)
        extractor = build(settings.features, recipe.pretrained(params), reading.side)
    found = measure(reading, deliver.read(folder, settings.kind), extractor)
    print(deliver.write(found, name, settings.task, reading.classes, tracking.reopen(folder)))


if __name__ == "__main__":
    main(sys.argv[1])
