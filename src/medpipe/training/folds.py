"""K-fold cross-validation by lesion or patient: out-of-fold predictions, and the mean of the folds' models."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from medpipe import backend
from medpipe.data.arrays import reserve
from medpipe.errors import SettingError
from medpipe.models import masks
from medpipe.models.delivery import OutOfFold
from medpipe.models.mean import mean
from medpipe.models.network import in_float32
from medpipe.models.predict import BATCH, predict, require_finite
from medpipe.training.assemble import Training
from medpipe.training.fit import OnEpoch, fit
from medpipe.training.selection import Rows, select


def deal_folds(table: pd.DataFrame, labels: Rows, classes: tuple[str, ...], folds: int, seed: int) -> Rows:
    """(n,) the fold, from 0, of each training and validation row of the split's `table`; -1 of all others.

    The rows of a group stay together, and each fold has its share of each class. Raises SettingError where a class has
    fewer groups than there are folds, or a fold came out without a class.
    """
    used = np.flatnonzero(table["set"].isin(("train", "val")))
    groups = table["group"].to_numpy()
    for label in np.unique(labels[used]):
        count = len(set(groups[used[labels[used] == label]]))
        if count < folds:
            raise SettingError(
                f"folds: must be at most {count}, the groups (lesions, patients) of class {classes[label]}, is {folds}"
            )
    fold = np.full(len(table), -1)
    from sklearn.model_selection import StratifiedGroupKFold  # which trainings without folds are spared

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for i, (_, part) in enumerate(splitter.split(used, labels[used], groups[used])):
        fold[used[part]] = i
        if absent := set(labels[used]) - set(labels[used[part]]):
            names = ", ".join(classes[label] for label in sorted(absent))
            raise SettingError(f"folds: fold {i + 1} of {folds} has no row of {names}; take fewer folds")
    return fold


def cross_validate(
    training: Training,
    folds: int,
    *,
    seed: int,
    most: int | None,
    checkpoint: Path,
    on_epoch: OnEpoch,
) -> tuple[keras.Model, pd.DataFrame, OutOfFold]:
    """Trains a model for each fold on the others' rows, for all epochs; early stopping chooses one on the fold itself.

    Returns the mean of the models, their histories side by side (columns `fold-1/loss` and so on), and what each said
    of its fold, in a file beside `checkpoint`, since masks of all rows may take more memory than there is. Killed and
    called again it goes on in the fold under way. `most`: the most training rows, of each fold.
    """
    settings = training.settings
    fold = deal_folds(training.rows, training.labels, training.classes, folds, seed)
    sides = [np.select([fold == i, fold >= 0], ["val", "train"], "none") for i in range(folds)]
    tables = [training.rows.assign(set=side) for side in sides]
    dealt = [select(table, training.classes, training.labels, settings, seed, most) for table in tables]
    judged = np.sort(np.concatenate([val for _, val in dealt]))
    members: list[keras.Model] = []
    histories = []

    def under(name: str) -> OnEpoch:
        return lambda epoch, logs: on_epoch(epoch, {f"{name}/{key}": value for key, value in logs.items()})

    for i, (train, val) in enumerate(dealt):
        name = f"fold-{i + 1}"
        print(f"{name} of {folds}", flush=True)
        part = replace(training, train=train, val=val)
        # Each fold begins as in a process of its own, so that it is the same after a kill.
        backend.reset(seed, settings.precision)
        model = part.build()
        history = fit(
            model, part.samples(train), part.samples(val), settings,
            seed=seed, checkpoint=checkpoint.with_name(f"{name}.npz"), classes=training.classes,
            on_epoch=under(name),
        )  # fmt: skip
        if not members:
            kind, shape = np.uint8 if training.segments else np.float32, (len(judged), *model.output_shape[1:])
            path = checkpoint.with_name("out_of_fold.npy")
            reserve({path: shape}, kind)
            output = open_memmap(path, "r+")
        judge = in_float32(model)
        for start in range(0, len(val), BATCH):
            some = val[start : start + BATCH]
            p = require_finite(name, predict(judge, [training.arrays.inputs], some)["output"])
            output[np.searchsorted(judged, some)] = masks.hard(p) if training.segments else p
        members.append(model)
        histories.append(history.set_index("epoch").drop(columns="phase").add_prefix(f"{name}/"))
    model = mean(members, list(settings.inputs) * folds, [1 / folds] * folds)
    return model, pd.concat(histories, axis=1).reset_index(), OutOfFold(judged, output)
