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
from medpipe.models import embedding
from medpipe.models.network import in_float32
from medpipe.models.predict import predict
from medpipe.params import BackboneRecipe, MlpRecipe, Recipe
from medpipe.probes import blank
from medpipe.training.assemble import assemble
from medpipe.training.batches import Samples
from medpipe.training.fit import fit


class Halves:
    """The model that is probed, in its halves, of which one with a frozen backbone keeps the first."""

    def __init__(self, model: keras.Model, settings: Recipe, flips: Sequence[str]) -> None:
        self.extractor = embedding.extractor(model)
        backbone = isinstance(settings, BackboneRecipe) and settings.network.unfreeze == 0
        changed = settings.augmentation or settings.mixing or flips
        self.head = embedding.head(model) if backbone and not changed else None


def retrain(
    settings: Recipe,
    halves: Halves,
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

    A backbone that is frozen as a whole, and whose images never change, is that of `halves`: its features are computed
    once and its head alone begins anew. `names` are the task's classes; settings, seed and rows are those of the model
    that is probed. Images and checkpoint lie in the folder `work` meanwhile: a killed training goes on where it was.
    """
    [key] = settings.inputs
    shutil.rmtree(work / key, ignore_errors=True)
    sets = pd.read_parquet(split / "rows.parquet", columns=["set"])["set"]
    blank.write(Arrays(prepared / key), prepared / key, work / key, region, np.flatnonzero(sets == "train"))
    backend.reset(seed, settings.precision)  # as in the process that trained the model
    training = assemble(settings, names, split, work, seed, most)
    if halves.head is None:
        model, inputs = training.build(), training.arrays.inputs
    else:
        model = keras.models.clone_model(halves.head)
        inputs = predict(halves.extractor, [training.arrays.inputs], np.arange(len(sets)))["output"]
        # A head is trained as a model of tables.
        plain = {"architecture": "mlp", "network": {"units": (), "dropout": 0.0}}
        settings = MlpRecipe.model_validate(settings.model_dump() | plain)
    train, val = (Samples(inputs, training.truth, rows) for rows in (training.train, training.val))
    fit(
        model, train, val, settings, seed=seed, checkpoint=work / "state.npz",
        on_epoch=lambda epoch, logs: None, classes=training.classes,
    )  # fmt: skip
    test = np.flatnonzero(sets == "test")
    output = predict(in_float32(model), [inputs], test, flips=flips)["output"]
    labels = np.array(training.classes)[training.labels[test]].tolist()
    table = of_classes(training.rows.iloc[test][["id", "set", "group", "label"]], labels, training.classes, output, 1.0)
    shutil.rmtree(work)
    return table
