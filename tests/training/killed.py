"""Run by test_resume.py: `killed.py FOLDER CHECKPOINT [read|epoch N]`.

Trains with warm-up, dropout, augmentation, mixing, class weights and a schedule of draws, and saves the final weights
and history under the checkpoint's name. It kills itself at the Nth reading of a batch, in the middle of an epoch, or at
the end of epoch N before that is saved.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
from keras import ops
from small_training import USUAL, images, network, part, recipe

from medpipe import backend, params
from medpipe.training.batches import Samples
from medpipe.training.fit import fit

folder, name = Path(sys.argv[1]), sys.argv[2]
moment, number = (sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 3 else ("", 0)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(np.ndarray):
    """Images whose Nth reading ends the process; the first two are the fingerprint's."""

    readings = -2

    def __getitem__(self, key):
        Deadly.readings += 1
        if moment == "read" and Deadly.readings == number:
            kill()
        return np.asarray(super().__getitem__(key))


def at_end(epoch: int, logs: dict[str, float]) -> None:
    if moment == "epoch" and epoch == number:
        kill()


backend.start(0, "float32")
whole = images(48)
whole = Samples(whole.inputs.view(Deadly), whole.targets, whole.rows)
settings = recipe(
    "skin-b4",
    batch=8,
    epochs=3,
    lr=0.01,
    warmup=params.Warmup(epochs=2, lr=0.05),
    decay=params.Decay(after=1, rate=0.5),
    augmentation=USUAL,
    class_weights="balanced",
    sampling=params.Sampling(kind="balanced", schedule=((1, 24), (3, None))),
    network={"unfreeze": "all"},
)
model = network()
history = fit(
    model, part(whole, 0, 40), part(whole, 40, 48), settings,
    seed=3, checkpoint=folder / f"{name}.npz", on_epoch=at_end, classes=("a", "b", "c"),
)  # fmt: skip
history.to_json(folder / f"{name}.json", double_precision=15)
weights = [ops.convert_to_numpy(variable) for variable in model.variables]
np.savez(folder / f"{name}-weights.npz", *weights)
print(f"{len(history)} epochs", flush=True)
