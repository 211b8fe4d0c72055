"""Which rows of a split train a model and which choose its epoch; their targets and weights."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.errors import InputError
from medpipe.params import Recipe

Rows = npt.NDArray[np.int64]


def select(
    table: pd.DataFrame, classes: Sequence[str], labels: Rows, recipe: Recipe, seed: int, most: int | None
) -> tuple[Rows, Rows]:
    """The row numbers that train and those that validate, ascending.

    `labels` (n,) are places in `classes`, a row of `table` each. `only` holds for both sets; `undersample` and `most`,
    the most rows to train on, for training alone. Raises InputError for an unknown class and for a set without a row.
    """
    if recipe.only is not None and recipe.only not in classes:
        raise InputError(f"only: {recipe.only!r} is none of {', '.join(classes)}")
    kept = np.ones(len(labels), bool) if recipe.only is None else labels == classes.index(recipe.only)
    sets = {name: np.flatnonzero(kept & (table["set"] == name).to_numpy()) for name in ("train", "val")}
    for name, rows in sets.items():
        if not len(rows):
            what = "" if recipe.only is None else f" of class {recipe.only}"
            raise InputError(f"the split's set {name!r} has no row{what}; change `split` or `only`")
    train = sets["train"]
    if recipe.undersample is not None:
        train = undersample(train, labels, recipe.undersample, seed)
    if most is not None:
        train = thin(train, labels, most, seed)
    return train, sets["val"]


def undersample(rows: Rows, labels: Rows, ratio: float, seed: int) -> Rows:
    """At most `ratio` times the rarest class's rows of each class, drawn once by `seed`."""
    rank, count = _ranks(rows, labels, seed)
    return rows[rank < np.floor(ratio * count.min())]


def thin(rows: Rows, labels: Rows, most: int, seed: int) -> Rows:
    """At most `most` rows, drawn by `seed`, each class by its share; none is lost while there is a row for each."""
    rank, count = _ranks(rows, labels, seed)
    return np.sort(rows[np.argsort(rank / count, kind="stable")[:most]])


def _ranks(rows: Rows, labels: Rows, seed: int) -> tuple[Rows, Rows]:
    """Each row's place in a random order of its class's rows, and how many those are."""
    rng = np.random.default_rng(seed)
    rank, count = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    for label in np.unique(labels[rows]):
        own = np.flatnonzero(labels[rows] == label)
        rank[own], count[own] = rng.permutation(len(own)), len(own)
    return rank, count


def class_targets(labels: Rows, classes: Sequence[str], recipe: Recipe) -> npt.NDArray[np.float32]:
    """(n, classes) one-hot; (n, 1) in {0, 1} for binary cross-entropy, which raises InputError but for two classes."""
    if recipe.loss.name != "binary_crossentropy":
        return np.eye(len(classes), dtype=np.float32)[labels]
    if len(classes) != 2:
        raise InputError(f"loss.name: binary_crossentropy is for two classes, not {len(classes)}; take crossentropy")
    return labels[:, None].astype(np.float32)


def balanced(targets: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n,) the weight of each row's class: inverse to its count, divided by the mean over the classes.

    `targets` (n, classes) or (n, 1) as `class_targets` makes them. Raises InputError for a class without a row.
    """
    if targets.ndim != 2:
        raise InputError("class_weights: for classes alone, not for masks; set it to null")
    labels = (targets[:, 0] > 0.5).astype(int) if targets.shape[1] == 1 else targets.argmax(1)
    count = np.bincount(labels, minlength=max(2, targets.shape[1]))
    if not count.all():
        raise InputError(f"class_weights: no training row of class number {count.argmin()}; give it rows or null")
    weights = 1 / count
    return (weights / weights.mean())[labels].astype(np.float32)
