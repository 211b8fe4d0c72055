"""Time of a training epoch that is lost to input: MobileNet at 128 px, all of it trained, in batches of 32.

    python benchmarks/epoch_overhead.py [BATCHES]

An epoch of batches from a mapped file, against the same number of steps on one batch that lies in memory as a tensor.
They take turns in one run; the table has the medians of the rounds and of their ratios. Processor time is that of all
threads: on a busy machine it says more than the clock.
"""

import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import machine
import numpy as np

from medpipe import backend
from medpipe.params import Augmentation
from medpipe.training.batches import Batches, Samples

SIDE, BATCH, CLASSES, ROUNDS = 128, 32, 7, 7
USUAL = Augmentation(
    horizontal_flip=True, vertical_flip=True, rotation=20, zoom=0.1, shift=0.1, shear=0, brightness=0.1
)


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
        constant = tf.data.Dataset.from_tensors((images[:BATCH], targets[:BATCH])).cache().repeat(steps)
        with (
            closing(Batches(mapped, BATCH, seed=1, shuffle=True)) as plain,
            closing(Batches(mapped, BATCH, seed=1, shuffle=True, augmentation=USUAL)) as augmented,
        ):
            rows = {"one batch in memory": constant, "Batches": plain, "Batches, augmented": augmented}
            took: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
            for number in range(ROUNDS + 1):
                for row, data in rows.items():
                    if isinstance(data, Batches):
                        data.epoch = number
                    clock, processor = time.perf_counter(), time.process_time()
                    model.fit(data, epochs=1, verbose=0, shuffle=False)
                    if number:  # The first round traces.
                        took[row].append((time.perf_counter() - clock, time.process_time() - processor))
    base = took["one batch in memory"]
    print(f"\n| {SIDE} px, {steps} steps of {BATCH}, median of {ROUNDS} epochs | s | lost | lost, processor time |")
    print("|---|---|---|---|")
    for row, times in took.items():
        clock, processor = (
            statistics.median(a[i] / b[i] - 1 for a, b in zip(times, base, strict=True)) for i in (0, 1)
        )
        print(f"| {row} | {statistics.median(t[0] for t in times):.2f} | {clock:.1%} | {processor:.1%} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
