"""The head of a fusion, over what its two trained members say or see."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression

from medpipe.models import fusion
from medpipe.models.delivery import OutOfFold
from medpipe.models.predict import predict
from medpipe.params import DenseFusion, StackedFusion
from medpipe.training.batches import Samples
from medpipe.training.fit import OnEpoch, fit

Rows = npt.NDArray[np.int64]


def fuse(
    members: Sequence[keras.Model],
    inputs: Sequence[npt.NDArray],
    labels: Rows,
    classes: int,
    train: Rows,
    val: Rows,
    settings: DenseFusion | StackedFusion,
    out_of_fold: Sequence[OutOfFold],
    *,
    seed: int,
    checkpoint: Path,
    on_epoch: OnEpoch,
) -> tuple[keras.Model, pd.DataFrame, OutOfFold | None]:
    """The head, (b, features) -> (b, classes), and its history (empty where scikit-learn fits it).

    `inputs` are the members' arrays, row by row; `labels` (n,) the class numbers; `train` and `val` row numbers. The
    members' weights stay as they are, so what the head reads of them is computed once.

    `out_of_fold`, of each member or empty: what it said of rows that had not trained it, on which a head over outputs
    is then fitted (stacked generalisation, Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1); what the head says of
    those of `val` is returned too. Without it the head is fitted in sample, on what members say of their own training
    rows, where they are surer than elsewhere.
    """
    at: fusion.At = "embedding" if settings.kind == "early" else "output"
    chosen = np.concatenate([train, val])
    parts = [fusion.features(member, at) for member in members]
    if out_of_fold:
        read = [found.of(chosen) for found in out_of_fold]
    else:
        read = [predict(part, [array], chosen)["output"] for part, array in zip(parts, inputs, strict=True)]
    features = np.concatenate(read, axis=1)
    places = np.arange(len(chosen))
    if isinstance(settings, StackedFusion):
        regression = LogisticRegression(C=settings.c, max_iter=5000).fit(features[: len(train)], labels[train])
        head, history = fusion.stacked(members, regression, classes), pd.DataFrame()
    else:
        head = (fusion.early if at == "embedding" else fusion.late)(members, classes, settings.head)
        truth = np.eye(classes, dtype=np.float32)[labels[chosen]]
        fitted, watched = (Samples(features, truth, part) for part in (places[: len(train)], places[len(train) :]))
        history = fit(head, fitted, watched, settings, seed=seed, checkpoint=checkpoint, on_epoch=on_epoch)
    found = OutOfFold(val, predict(head, [features], places[len(train) :])["output"]) if out_of_fold else None
    return head, history, found
