"""Epochs of a frozen backbone on features that were computed once, against epochs that compute them anew.

    python benchmarks/cached_features.py [ROUNDS]

Both are `fit` itself: MobileNetV2 at 224 px from a random start, frozen, a softmax on top; noisy images, brighter by
class. Where it is given no room for features, it takes the images through the backbone in each epoch, as it does where
they are too many. They take turns; an epoch is training, validation and checkpoint. The first does not count: it traces
and computes the features. Processor time is that of all threads.
"""

import sys
import tempfile
import time
from pathlib import Path

import machine
import numpy as np

from medpipe import backend, params

SIDE, CLASSES, TRAIN, VAL, EPOCHS, SEED = 224, 7, 1280, 256, 4, 3


def main(rounds: int) -> None:
    machine.describe()
    import keras

    from medpipe.models.build import build
    from medpipe.training import fit
    from medpipe.training.batches import Samples

    published = params.load(Path(__file__).parents[1]).models["chest-mobilenetv2"]
    network = published.network.model_copy(update={"weights": None})
    changes = {"network": network, "augmentation": None, "early_stopping": None, "epochs": EPOCHS, "lr": 1e-3}
    settings = published.model_copy(update=changes)
    labels = np.arange(TRAIN + VAL) % CLASSES
    noise = np.random.default_rng(0).normal(0, 30, (len(labels), SIDE, SIDE, 3))
    images = (40 + 25 * labels[:, None, None, None] + noise).clip(0, 255).astype(np.uint8)
    targets = np.eye(CLASSES, dtype=np.float32)[labels]
    train, val = (Samples(images, targets, rows) for rows in np.split(np.arange(len(labels)), [TRAIN]))

    def run() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Weights and history of a training, and its epochs' seconds (clock, processor) but for the first one's."""
        backend.start(SEED, "float32")
        model = build(settings, (SIDE, SIDE, 3), CLASSES, {})
        # A random start's batch normalisation lets all features vanish until it has seen images.
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        model(images[:64], training=True)
        marks: list[tuple[float, float]] = []
        with tempfile.TemporaryDirectory() as folder:
            history = fit.fit(
                model, train, val, settings, seed=SEED, checkpoint=Path(folder) / "state.npz",
                on_epoch=lambda epoch, logs: marks.append((time.perf_counter(), time.process_time())),
            )  # fmt: skip
        return model.get_weights(), history.select_dtypes("number").to_numpy(), np.diff(marks, axis=0)

    room = {"anew": 0, "cached": fit._MOST_FEATURES}
    took: dict[str, list[np.ndarray]] = {row: [] for row in room}
    apart = np.zeros(2)
    for _ in range(rounds):
        results = []
        for row, most in room.items():
            fit._MOST_FEATURES = most
            *result, seconds = run()
            results.append(result)
            took[row].append(np.median(seconds, axis=0))
        (weights, history), (others, other) = results
        widest = max(float(np.abs(a - b).max()) for a, b in zip(weights, others, strict=True))
        apart = np.maximum(apart, [widest, np.abs(history - other).max()])
    anew, cached = (np.array(took[row]) for row in room)
    print(
        f"\n| {SIDE} px, {TRAIN} + {VAL} images, median of {rounds} | s an epoch | processor time, s |\n|---|---|---|"
    )
    for row, seconds in (("features anew", anew), ("cached features", cached)):
        clock, processor = np.median(seconds, axis=0)
        print(f"| {row} | {clock:.3f} | {processor:.3f} |")
    clock, processor = np.median(anew / cached, axis=0)
    print(f"| times as fast | {clock:.0f} | {processor:.0f} |")
    print(f"\nLargest difference of a weight {apart[0]:.1g}, of a figure of the history {apart[1]:.1g}.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
