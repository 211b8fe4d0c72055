"""The model again, trained on images of which a region is blanked."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from medpipe import backend
from medpipe.data.arrays import Arrays
from medpipe.evaluation.tables import of_classes
from medpipe.models.predict import predict
from medpipe.params import Recipe
from medpipe.probes import blank
from medpipe.training.assemble import Training, assemble
from medpipe.training.fit import fit


def _ignore(epoch: int, logs: dict[str, float]) -> None:
    """No run is kept of a probe's epochs."""


def retrain(
    settings: Recipe,
    names: Sequence[str],
    split: Path,
    prepared: Path,
    region: blank.Region,
    work: Path,
    *,
    seed: int,
    most: int | None,
    flips: Sequence[str],
) -> pd.DataFrame:
    """The prediction table of the test rows, without subgroups, of the recipe trained with `region` blanked.

    `names` are the task's classes; settings, seed and rows are those of the model that is probed. Images and checkpoint
    lie in the folder `work` meanwhile, so that a killed training goes on where it was.
    """
    [key] = settings.inputs
    checkpoint = work / "state.npz"
    shutil.rmtree(work / key, ignore_errors=True)
    rows = pd.read_parquet(split / "rows.parquet", columns=["set"])
    train = np.flatnonzero(rows["set"] == "train")
    blank.write(Arrays(prepared / key), prepared / key, work / key, region, train)
    backend.reset(seed, settings.precision)  # as in the process that trained the model
    training = assemble(settings, names, split, work, seed, most)
    model = training.build()
    fit(
        model, training.samples(training.train), training.samples(training.val), settings,
        seed=seed, checkpoint=checkpoint, on_epoch=_ignore, classes=training.classes,
    )  # fmt: skip
    table = _tested(training, model, flips)
    shutil.rmtree(work)
    return table


def _tested(training: Training, model: keras.Model, flips: Sequence[str]) -> pd.DataFrame:
    test = np.flatnonzero(training.rows["set"] == "test")
    labels = np.array(training.classes)[training.labels[test]]
    output = predict(model, [training.arrays.inputs], test, flips=flips)["output"]
    keys = training.rows.iloc[test][["id", "set", "group", "label"]]
    return of_classes(keys, labels.tolist(), training.classes, output)
