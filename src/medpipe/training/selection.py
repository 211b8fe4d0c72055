"""Which rows of a split train a model and which choose its epoch; their targets and weights."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.errors import SettingError
from medpipe.params import EarlyStopping, Recipe

Rows = npt.NDArray[np.int64]


def select(
    table: pd.DataFrame, classes: Sequence[str], labels: Rows, recipe: Recipe, seed: int, most: int | None
) -> tuple[Rows, Rows]:
    """The row numbers that train and those that validate, ascending.

    `labels` (n,) are places in `classes`, a row of `table` each. `only` holds for both sets; `undersample` and `most`,
    the most rows to train on, for training alone. Raises SettingError for a set without a row of a class.
    """
    kept = np.ones(len(labels), bool) if recipe.only is None else labels == classes.index(recipe.only)
    sets = {name: np.flatnonzero(kept & (table["set"] == name).to_numpy()) for name in ("train", "val")}
    for name, rows in sets.items():
        wanted = classes if recipe.only is None else [recipe.only]
        absent = [label for label in wanted if not (labels[rows] == classes.index(label)).any()]
        if absent:
            raise SettingError(
                f"merge: the split's set {name!r} has no row of {', '.join(absent)}; merge it into another class, "
                "change the split, or add images of it"
            )
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


def cost(numbers: Mapping[str, float], rule: EarlyStopping | None) -> float:
    """What stops a training and chooses the epoch that it keeps, the lower the better: val_loss, or as `rule` says."""
    if rule is None or rule.monitor == "val_loss":
        return numbers["val_loss"]
    return -numbers[rule.monitor]


def class_targets(labels: Rows, classes: Sequence[str], recipe: Recipe) -> npt.NDArray[np.float32]:
    """(n, classes) one-hot; (n, 1) in {0, 1} for binary cross-entropy, a SettingError but for two classes."""
    if recipe.loss.name != "binary_crossentropy":
        return np.eye(len(classes), dtype=np.float32)[labels]
    if len(classes) != 2:
        raise SettingError(f"loss.name: binary_crossentropy is for two classes, not {len(classes)}; take crossentropy")
    return labels[:, None].astype(np.float32)


def class_numbers(targets: npt.NDArray[np.float32], setting: str) -> Rows:
    """(n,) the class number of each row of `targets`, (n, classes) or (n, 1) as `class_targets` makes them.

    Raises SettingError, of the key `setting` that needs classes, for masks.
    """
    if targets.ndim != 2:
        raise SettingError(f"{setting}: for classes alone, not for masks; set it to null")
    return (targets[:, 0] > 0.5).astype(np.int64) if targets.shape[1] == 1 else targets.argmax(1)


def class_weights(
    targets: npt.NDArray[np.float32], classes: Sequence[str], setting: str | dict[str, float], generated: int = 0
) -> npt.NDArray[np.float32]:
    """(n,) the weight of each row's class: as `setting` gives it, or `balanced`.

    Balanced weights are inverse to the classes' rows, without the last `generated` ones, and divided by their mean over
    the classes. Raises SettingError for a class without a row.
    """
    labels = class_numbers(targets, "class_weights")
    if isinstance(setting, dict):
        return np.array([setting[name] for name in classes], np.float32)[labels]
    count = np.bincount(labels[: len(labels) - generated], minlength=len(classes))
    if not count.all():
        raise SettingError(
            f"class_weights: no training row of class {classes[int(count.argmin())]}; merge it, or say null"
        )
    weights = 1 / count
    return (weights / weights.mean())[labels].astype(np.float32)
