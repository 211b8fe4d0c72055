"""Prints how many MiB more training, evaluating a segmenter, evaluating a cascade and cross-validation take of ROWS
rows than of SEEN: `held_memory.py FOLDER ROWS`.

Counted is what the process holds at most of its own (RssAnon): pages of the mapped arrays are the system's to drop.
"""

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pandas as pd
from declared import evaluate_settings
from keras import layers
from small_training import ignore, recipe

from medpipe import backend
from medpipe.data.arrays import Arrays, Dealt
from medpipe.evaluation.evaluate import evaluate
from medpipe.models.cascade import compose
from medpipe.models.delivery import Delivery, OutOfFold
from medpipe.training.assemble import Training
from medpipe.training.batches import Samples
from medpipe.training.fit import fit
from medpipe.training.folds import cross_validate

SIDE, SEEN = 320, 320  # pixels, rows
CLASSES = ("healthy", "tumour")


def write(folder: Path, count: int) -> Arrays:
    """Black slices with a bright square, which is marked; the files have holes in place of the black."""
    images, masks = (
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (count, SIDE, SIDE, *rest))
        for name, rest in (("inputs", (3,)), ("masks", ()))
    )
    for row in range(0, count, 2):
        images[row, 90:100, 90:100], masks[row, 90:100, 90:100] = 255, 1
    ids = ", ".join(f'"s{row}"' for row in range(count))
    about = '"variant": {"mask_values": {"tumour": [1, 255]}}, "features": [], "digest": ""'
    (folder / "meta.json").write_text(f'{{"ids": [{ids}], {about}}}')
    return Arrays(folder)


def segmenter() -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 3))
    mask = layers.Conv2D(1, 1, activation="sigmoid", kernel_initializer="ones", bias_initializer="zeros")
    return keras.Model(inputs, mask(layers.Rescaling(1 / 25, offset=-5)(inputs)), name="segmenter")


class Shallow(Training):
    """A training of a network that takes no time."""

    def build(self) -> keras.Model:
        return segmenter()


def classifier() -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 3))
    p = layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(inputs))
    return keras.Model(inputs, p, name="classifier")


def own_memory() -> float:
    """MiB that are the process's own."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def peak(work: Callable[[], object]) -> float:
    """The most MiB that the process holds while `work` runs."""
    most, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, own_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return most


def main(folder: Path, count: int) -> None:
    arrays = write(folder, count)
    place = np.arange(count)
    rows = pd.DataFrame(
        {
            "id": arrays.ids,
            "label": np.array(CLASSES)[1 - place % 2],
            "group": [f"p{row // 10}" for row in place],
            "set": np.where(place < 20, "train", np.where(place < 40, "val", "test")),
        }
    )
    settings = evaluate_settings(50)
    described = {"merge": {}, "seed": 0, "rows": 20}
    about = "brain", "segmenter", CLASSES, ("brain-256",), (arrays.variant,), ((),), {}, None, described
    segments = Delivery("m", *about)
    cascades = replace(segments, kind="cascade", threshold=0.5)
    backend.start(0, "float32")
    chain, single = compose(classifier(), segmenter()), segmenter()

    def train(seen: int) -> None:
        samples = Samples(arrays.inputs, arrays.masks, np.arange(seen))
        settings = recipe("brain-resunet", epochs=1, batch=16, augmentation=None)
        val = Samples(arrays.inputs, arrays.masks, np.arange(SEEN))
        checkpoint = folder / "state.npz"
        fit(segmenter(), samples, val, settings, seed=0, checkpoint=checkpoint, on_epoch=ignore)
        checkpoint.unlink()  # or the next round goes on from it

    def judge(delivered: Delivery, model: keras.Model, seen: int) -> None:
        some = rows.assign(set=rows["set"].where(place < seen, "none"))
        evaluate(delivered, model, some, [arrays], Dealt(CLASSES, ()), settings, 0)

    def cross(seen: int) -> None:
        """Two folds, their out-of-fold masks to a file, and their evaluation."""
        some = rows.assign(set=np.where(place < 20, "test", np.where(place < seen, "train", "none")))
        changes = {"only": None, "epochs": 1, "batch": 16, "augmentation": None, "early_stopping": None}
        training = Shallow(
            recipe("brain-resunet", **changes), some, arrays, CLASSES, 1 - place % 2, arrays.masks, {}, [], [], None
        )
        with TemporaryDirectory(dir=folder) as scratch:
            path = Path(scratch)
            model, _, out_of_fold = cross_validate(
                training, 2, seed=0, most=None, checkpoint=path / "state.npz", on_epoch=ignore
            )
            out_of_fold.write(path)
            crossed = replace(segments, settings=described | {"folds": 2})
            evaluate(crossed, model, some, [arrays], Dealt(CLASSES, ()), settings, 0, OutOfFold.read(path))

    added = []
    for work in (train, partial(judge, segments, single), partial(judge, cascades, chain), cross):
        work(SEEN)  # compiles
        few, all_rows = (peak(partial(work, seen)) for seen in (SEEN, count))
        added.append(round(all_rows - few))
    print(*added)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
