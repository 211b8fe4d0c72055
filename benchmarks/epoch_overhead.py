"""Time of a training epoch that is lost to input: MobileNet at 128 px, all of it trained, in batches of 32.

    python benchmarks/epoch_overhead.py [BATCHES]

An epoch of batches from a mapped file, against the same number of steps on one batch that lies in memory as a tensor;
sampling and mixing against plain batches. They take turns in one run, in another order each round; the table has the
medians of the rounds and of their ratios, these with their 95% interval (the 8th and the 18th of 25 in order: no
assumption on how they scatter). Processor time is that of all threads: on a busy machine it says more than the clock.
What sampling and mixing do is timed alone, too: an epoch's times scatter by more than it takes.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import machine
import numpy as np

from medpipe import backend
from medpipe.params import Augmentation, Mixing, Sampling
from medpipe.training.batches import Batches, Samples
from medpipe.training.mixing import mix
from medpipe.training.sampling import Sampler

SIDE, BATCH, CLASSES, ROUNDS = 128, 32, 7, 25
USUAL = Augmentation(
    probability=1.0, horizontal_flip=True, vertical_flip=True, rotation=20, zoom=0.1, shift=0.1, shear=0, brightness=0.1
)
MIXING = Mixing(mixup=0.2, cutmix=1.0)  # as in the recipes of system C
BALANCED = Sampling(kind="balanced", schedule=((1, "rows"),))


def main(steps: int) -> None:
    machine.describe()
    backend.start(0, "float32")
    import keras
    import tensorflow as tf

    inputs = keras.Input((SIDE, SIDE, 3))
    body = keras.applications.MobileNet(
        include_top=False, weights=None, input_tensor=keras.layers.Rescaling(1 / 127.5, -1)(inputs), pooling="avg"
    )
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(body.output))
    model.compile(optimizer="adam", loss="categorical_crossentropy")

    count = steps * BATCH
    images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    targets = np.eye(CLASSES, dtype=np.float32)[np.arange(count) % CLASSES]
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "inputs.npy", images)
        mapped = Samples(np.load(Path(name) / "inputs.npy", mmap_mode="r"), targets, np.arange(count))
        sampler = Sampler(BALANCED, targets.argmax(1), tuple("abcdefg"), 1)
        constant = tf.data.Dataset.from_tensors((images[:BATCH], targets[:BATCH])).cache().repeat(steps)
        with (
            closing(Batches(mapped, BATCH, seed=1, shuffle=True)) as plain,
            closing(Batches(mapped, BATCH, seed=1, shuffle=True, augmentation=USUAL)) as augmented,
            closing(Batches(mapped, BATCH, seed=1, shuffle=True, sampler=sampler)) as sampled,
            closing(Batches(mapped, BATCH, seed=1, shuffle=True, mixing=MIXING)) as mixed,
        ):
            memory, batches = "one batch in memory", "Batches"
            rows = {
                memory: (constant, memory),
                batches: (plain, memory),
                "Batches, augmented": (augmented, memory),
                "Batches, sampled": (sampled, batches),
                "Batches, MixUp and CutMix": (mixed, batches),
            }
            took: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
            for number in range(ROUNDS + 1):
                for row in random.Random(number).sample(list(rows), len(rows)):
                    data, _ = rows[row]
                    if isinstance(data, Batches):
                        data.epoch = number
                    clock, processor = time.perf_counter(), time.process_time()
                    model.fit(data, epochs=1, verbose=0, shuffle=False)
                    if number:  # The first round traces.
                        took[row].append((time.perf_counter() - clock, time.process_time() - processor))
    print(f"\n| {SIDE} px, {steps} steps of {BATCH}, median of {ROUNDS} | against | s | lost | lost, processor time |")
    print("|---|---|---|---|---|")
    for row, (_, base) in rows.items():
        clock, processor = (lost([t[i] for t in took[row]], [t[i] for t in took[base]]) for i in (0, 1))
        print(f"| {row} | {base} | {statistics.median(t[0] for t in took[row]):.2f} | {clock} | {processor} |")

    epoch = statistics.median(processor for _, processor in took[batches])
    drawing = seconds(sampler.drawn) + seconds(sampler)
    mixing = steps * seconds(lambda i: mix(images[:BATCH], targets[:BATCH], None, MIXING, [1, i]))
    print(
        f"\nProcessor time alone, of an epoch: sampling {drawing / epoch:.2%}, MixUp and CutMix {mixing / epoch:.2%}."
    )


def lost(times: list[float], base: list[float]) -> str:
    """By how much the ROUNDS times exceed the base's, pair by pair: the median with its interval, of 25 in order."""
    ratios = sorted(a / b - 1 for a, b in zip(times, base, strict=True))
    return f"{statistics.median(ratios):.1%} [{ratios[7]:.1%}, {ratios[17]:.1%}]"


def seconds(work: Callable[[int], object]) -> float:
    """The mean processor time of 200 calls."""
    start = time.process_time()
    for i in range(200):
        work(i)
    return (time.process_time() - start) / 200


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
