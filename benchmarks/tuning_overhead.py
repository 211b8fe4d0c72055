"""Time that a trial of a study takes beyond its training: ConvNet, 32 px, 256 random images.

    python benchmarks/tuning_overhead.py [TRIALS]

The study's trials, with Optuna, MLflow and the process that trains, take turns with the same settings trained in this
process; no trial is pruned. Seconds. The study's own processor time says more than the clock on a busy machine.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import machine
import numpy as np
import pandas as pd

from medpipe import backend, recipe
from medpipe.data.vocabulary import VOCABULARY
from medpipe.overrides import change
from medpipe.params import Tuning, checked, read
from medpipe.training.assemble import assemble
from medpipe.training.fit import fit
from medpipe.tuning.process import Trainer
from medpipe.tuning.study import opened

NAME, ROWS, SIDE, EPOCHS = "chest-convnet", 320, 32, 10
SPLIT, PREPARED = Path("data/split/chest"), Path("data/prepared")


def main(trials: int) -> None:
    machine.describe()
    settings = {"network.filters": [8, 16], "epochs": EPOCHS, "early_stopping": None}
    values = change(read(), NAME, settings)
    tuning = Tuning.model_validate({
        "trials": trials, "metric": "val_loss", "sampler": {"startup": 4}, "pruner": {"startup": trials, "warmup": 0},
        "space": {
            "network.dropout": {"low": 0.0, "high": 0.6, "log": False},
            "network.units": {"choices": [64, 128, 256]},
            "lr": {"low": 1e-4, "high": 1e-2, "log": True},
        },
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as root:
        os.chdir(root)
        os.environ["DVC_ROOT"] = root
        for variable in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE"):
            os.environ.pop(variable, None)
        write()
        turns = []
        with Trainer(values, NAME) as trainer, opened(NAME, tuning, values, 42, trainer.facts) as search:
            for number in range(1, trials + 1):
                processor, driven = time.process_time(), time.perf_counter()
                replace(search, tuning=tuning.model_copy(update={"trials": number})).go_on(trainer)
                processor, driven = time.process_time() - processor, time.perf_counter() - driven
                direct = time.perf_counter()
                train(values, search.changes(search.counted[-1]), Path(root))
                direct = time.perf_counter() - direct
                if number > 1:  # the first traces and imports, on both sides
                    turns.append((direct, driven, driven - direct, driven / direct, processor))
    what = (
        "trained directly",
        "as a trial of the study",
        "the difference",
        "the ratio",
        "processor time of the study's process",
    )
    print(f"\n| {EPOCHS} epochs of 256 images at {SIDE} px, {len(turns)} trials | median | from | to |")
    print("|---|---|---|---|")
    for row, figures in zip(what, zip(*turns, strict=True), strict=True):
        print(f"| {row} | {statistics.median(figures):.2f} | {min(figures):.2f} | {max(figures):.2f} |")


def write() -> None:
    """What prepare and split leave, of random images."""
    folder, labels, ids = PREPARED / "chest-256", np.arange(ROWS) % 4, [f"{i:03}" for i in range(ROWS)]
    folder.mkdir(parents=True)
    SPLIT.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, SIDE, SIDE, 3), dtype=np.uint8)
    np.save(folder / "inputs.npy", pixels)
    (folder / "meta.json").write_text(json.dumps({"ids": ids, "variant": {}, "features": [], "digest": "0" * 64}))
    sets = np.where(np.arange(ROWS) < 256, "train", "val")
    classes = np.array(VOCABULARY["chest"].classes)
    rows = pd.DataFrame({"id": ids, "set": sets, "group": ids, "label": classes[labels], "source": "a"})
    rows.to_parquet(SPLIT / "rows.parquet")
    (SPLIT / "stats.json").write_text("{}")


def train(values: dict, changes: dict, folder: Path) -> None:
    """As stages/train.py does it."""
    import keras

    keras.utils.clear_session()
    params = checked(change(values, NAME, changes))
    settings, seed = recipe.resolve(params, NAME), params.seed
    backend.start(seed, settings.precision)
    training = assemble(settings, SPLIT, PREPARED, seed, recipe.training_rows(params))
    checkpoint = folder / "state.npz"
    fit(
        training.build(), training.samples(training.train), training.samples(training.val), settings,
        seed=seed, checkpoint=checkpoint, on_epoch=lambda *_: None, classes=training.classes,
    )  # fmt: skip
    checkpoint.unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
