"""Run by test_mask_memory.py: `mask_memory.py FOLDER`. Prints, as JSON, {step: megabytes that it took at its peak}: a
pair each, of ROWS images with masks and of eight times as many.

Megabytes are the process's own: pages of mapped files do not count, which the system takes back where it needs them.
"""

import gc
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from declared import EIGHT_BIT, evaluate_settings
from keras import layers
from numpy.lib.format import open_memmap
from small_training import ignore, recipe

from medpipe import backend
from medpipe.data.arrays import Dealt
from medpipe.evaluation.evaluate import evaluate
from medpipe.models import cascade
from medpipe.models.delivery import OutOfFold
from medpipe.training.assemble import Training, assemble
from medpipe.training.fit import fit
from medpipe.training.folds import cross_validate

ROWS, SIDE = (256, 2048), 128
CLASSES = ("empty", "marked")
DEALT = Dealt(CLASSES, ())


def prepare(folder: Path, rows: int) -> None:
    """Split and prepared images: four rows a patient, of which the first has a square; all else is a hole in a file."""
    place = np.arange(rows)
    group = place // 4
    table = pd.DataFrame({"id": place.astype(str), "label": np.array(CLASSES)[(place % 4 == 0).astype(int)]})
    dealt = np.array(["train", "test", "train", "val"])[group % 4]
    table = table.assign(group=group.astype(str), source="one", set=dealt)
    prepared = folder / "squares"
    prepared.mkdir(parents=True)
    table.to_parquet(folder / "rows.parquet")
    (folder / "stats.json").write_text("{}")
    variant = {"task": "brain", "kind": "images", "square": False, "sizes": [SIDE], "equalise": False}
    variant |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": {"marked": [255]}}
    meta = {"ids": table["id"].tolist(), "variant": variant, "features": [], "digest": "0"}
    (prepared / "meta.json").write_text(json.dumps(meta))
    images = open_memmap(prepared / "inputs.npy", "w+", np.uint8, (rows, SIDE, SIDE, 3))
    masks = open_memmap(prepared / "masks.npy", "w+", np.uint8, (rows, SIDE, SIDE))
    for row in range(0, rows, 4):
        images[row, 8:16, 8:16], masks[row, 8:16, 8:16] = 255, 1


def network(kind: type[layers.Layer] | None = None) -> keras.Model:
    """A segmenter that marks what is bright, or a classifier that looks for it."""
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    if kind is None:
        outputs = layers.Conv2D(1, 1, activation="sigmoid")(x)
    else:
        outputs = layers.Dense(1, activation="sigmoid")(kind(name="embedding")(x))
    model = keras.Model(inputs, outputs)
    weights = model.layers[-1].get_weights()
    model.layers[-1].set_weights([np.full_like(weights[0], 3), np.full_like(weights[1], -5)])
    return model


class Shallow(Training):
    """As `Training`, with a network that takes no time."""

    def build(self) -> keras.Model:
        return network()


@contextmanager
def peak(found: list[float]) -> Iterator[None]:
    """Adds to `found` the most megabytes that the process held beyond what it held before."""

    def held() -> float:
        return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

    def watch() -> None:
        while not over.wait(0.005):
            seen.append(held())

    gc.collect()
    before, seen, over = held(), [], threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        found.append(round(max(seen) - before))


def read(folder: Path, rows: int) -> Shallow:
    prepare(folder, rows)
    settings = recipe(
        "brain-resunet", inputs=("squares",), only=None, epochs=1, batch=16, decay=None, early_stopping=None,
        augmentation=None,
    )  # fmt: skip
    return Shallow(**vars(assemble(settings, CLASSES, folder, folder, 1, None)))


def train(training: Training, checkpoint: Path) -> None:
    fit(
        network(), training.learnt, training.samples(training.val), training.settings,
        seed=1, checkpoint=checkpoint, on_epoch=ignore,
    )  # fmt: skip


def main(folder: Path) -> None:
    backend.start(1, "float32")
    train(read(folder / "first", 64), folder / "first.npz")  # what the backend takes once
    peaks: dict[str, list[float]] = {step: [] for step in ("train", "evaluate", "cascade", "folds", "out of fold")}
    for rows in ROWS:
        data = folder / str(rows)
        training, evaluation = read(data, rows), evaluate_settings(20)
        with peak(peaks["train"]):
            train(training, data / "state.npz")
        delivered = training.delivery("m", training.described(1, deterministic=True))
        with peak(peaks["evaluate"]):
            found = evaluate(delivered, network(), training.rows, [training.arrays], DEALT, evaluation, 1)
        assert len(found.table) == rows // 2
        assert found.headline["dice"] == 1
        both = type(delivered)(**vars(delivered) | {"kind": "cascade", "threshold": 0.5})
        whole = cascade.compose(network(layers.GlobalMaxPooling2D), network())
        with peak(peaks["cascade"]):
            evaluate(both, whole, training.rows, [training.arrays], DEALT, evaluation, 1)
        with peak(peaks["folds"]):
            model, _, out_of_fold = cross_validate(
                training, 2, seed=1, most=None, checkpoint=data / "state.npz", on_epoch=ignore
            )
            out_of_fold.write(data)
        del out_of_fold
        with peak(peaks["out of fold"]):
            evaluate(delivered, model, training.rows, [training.arrays], DEALT, evaluation, 1, OutOfFold.read(data))
    print(json.dumps(peaks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
