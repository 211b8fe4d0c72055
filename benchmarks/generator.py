"""What a generator's training loses beside its bare step, and how long measuring and drawing take.

    python benchmarks/generator.py [--kind sagan --side 64 --channels 16 --steps 20 --rounds 5 --drawn 1024]

A round is a training of `--steps` steps as the stage generate runs it (batches from a mapped file, random numbers by
step, losses checked, a canvas and a checkpoint at its end, without the measures) and as many bare steps of the same
nets on one batch that lies in memory, in turn. The ratio is of processor time, that of all threads: on a busy machine
it says more than the clock. Then FID of 2,000 against 2,000 features of Inception's size, and images drawn a second.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np

from medpipe import backend, params
from medpipe.generation import edm, measures, sagan
from medpipe.generation.draw import draw_new, one_hot
from medpipe.generation.learner import named
from medpipe.generation.train import fit
from medpipe.training.batches import Samples

CLASSES = 7


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def main(kind: str, side: int, channels: int, steps: int, rounds: int, drawn: int) -> None:
    machine.describe()
    backend.start(0, "float32")
    recipe = params.load(Path(__file__).parents[1]).generators[f"skin-{kind}"]
    network = recipe.network.model_copy(update={"channels": channels})
    changes = {"network": network, "steps": steps, "every": steps, "average": 0.999}
    settings = recipe.model_copy(update=changes | ({"diffaugment": True} if kind == "sagan" else {}))
    learner = {"sagan": sagan, "edm": edm}[kind].learner(settings, side, CLASSES)
    batch, rng = settings.batch, np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=50 * batch)
    of = one_hot(labels, CLASSES)
    random = learner.random(of[:batch], rng)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "inputs.npy"
        np.save(path, rng.integers(0, 256, (len(labels), side, side, 3), np.uint8))
        samples = Samples(np.load(path, mmap_mode="r"), of, np.arange(len(labels)))
        images = samples.inputs[:batch]

        def bare() -> None:
            for _ in range(steps):
                found = learner.step(images, of[:batch], random, 0.999)
            named(learner, found)

        def whole() -> None:
            fit(
                learner, samples, settings, lambda generator: {"fid": 1.0, "kid": 0.0, "spread": 1.0},  # type: ignore[arg-type]
                name="benchmark", checkpoint=Path(name) / f"{time.time_ns()}.npz", fingerprint="",
                on_measure=lambda step, row, canvas: None,
            )  # fmt: skip

        bare()
        whole()  # which compiles
        pairs = [(timed(bare), timed(whole)) for _ in range(rounds)]
    ratios = sorted(one[1] / other[1] for one, other in pairs)
    clock = statistics.median(other[0] for _, other in pairs)
    processor = statistics.median(other[1] for _, other in pairs)
    print(f"{kind}, {side} px, {channels} channels, batch {batch}: {steps / clock:.2f} steps/s")
    print(f"{processor / steps:.3f} s of processor a step; {rounds} rounds of {steps}")
    print(f"bare step over step in training: {statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]")

    real, other = rng.normal(size=(2, 2000, 2048))
    seconds = min(timed(lambda: measures.frechet(real, other)) for _ in range(3))
    print(f"FID of 2,000 against 2,000 features of 2,048 numbers: {seconds[0]:.1f} s, {seconds[1]:.1f} s of processor")

    of = one_hot(rng.integers(CLASSES, size=drawn), CLASSES)
    draw_new(learner.drawn, of[:64], [2])
    clock, processor = timed(lambda: draw_new(learner.drawn, of, [2]))
    print(f"drawing {drawn}: {drawn / clock:.0f} images/s, {drawn / processor:.0f} a second of processor")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("sagan", "edm"), default="sagan")
    for name, value in (("side", 64), ("channels", 16), ("steps", 20), ("rounds", 5), ("drawn", 1024)):
        parser.add_argument(f"--{name}", type=int, default=value)
    main(**vars(parser.parse_args()))
