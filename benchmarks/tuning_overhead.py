"""Time that a trial of a study takes beyond its training: ConvNet, 32 px, 256 random images.

    python benchmarks/tuning_overhead.py [TRIALS]

The study's trials, with Optuna, MLflow and the process that trains, against the same settings trained one after another
in this process. Both in one run, after a first training that traces and imports; no trial is pruned.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
import pandas as pd

from medpipe import backend, recipe
from medpipe.data.vocabulary import VOCABULARY
from medpipe.params import Params, Tuning, read, validated
from medpipe.training.assemble import assemble
from medpipe.training.fit import fit
from medpipe.tuning.process import Trainer
from medpipe.tuning.space import changed
from medpipe.tuning.study import opened

NAME, ROWS, SIDE, EPOCHS = "chest-convnet", 320, 32, 10
SPLIT, PREPARED = Path("data/split/chest"), Path("data/prepared")


def main(trials: int) -> None:
    machine.describe()
    settings = {"network.filters": [16, 32], "epochs": EPOCHS, "early_stopping": None}
    values = changed(read(Path("params.yaml")), NAME, settings)
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
        with Trainer(values, NAME) as trainer, opened(NAME, tuning, values, 42, trainer.facts) as search:
            search.go_on(trainer)
            found = search.study.get_trials()
            changes = [search.changes(trial) for trial in found]
        train(values, changes[0], Path(root))
        direct = []
        for change in changes:
            started = time.perf_counter()
            train(values, change, Path(root))
            direct.append(time.perf_counter() - started)
    driven = [trial.duration.total_seconds() for trial in found]
    # The first trial of the process traces what all have in common, as the training before these did.
    more = [a - b for a, b in zip(driven[1:], direct[1:], strict=True)]
    print(f"\n| {EPOCHS} epochs of {ROWS} images at {SIDE} px, {trials - 1} trials | median s |")
    print("|---|---|")
    print(f"| trained directly | {statistics.median(direct[1:]):.2f} |")
    print(f"| as a trial of the study | {statistics.median(driven[1:]):.2f} |")
    print(f"| the difference | {statistics.median(more):.2f} (from {min(more):.2f} to {max(more):.2f}) |")
    print(f"| the ratio | {statistics.median(a / b for a, b in zip(driven[1:], direct[1:], strict=True)):.2f} |")


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
    params = validated(Params, changed(values, NAME, changes), "params.yaml")
    settings, seed = recipe.resolve(params, NAME), recipe.seed(params)
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
