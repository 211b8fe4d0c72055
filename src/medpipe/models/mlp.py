"""The perceptron over a table of features."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from medpipe.errors import InputError
from medpipe.models.embedding import EMBEDDING
from medpipe.params import Mlp


def build(network: Mlp, input_shape: tuple[int, ...], classes: int, stats: dict[str, Any]) -> keras.Model:
    """(b, features) float32, NaN for missing -> (b, classes) probabilities.

    `stats` holds the training rows' `columns`, `fill` (for a missing value), `mean` and `std`, a value each a feature:
    imputing and scaling are part of the model, so that whoever loads it can send it raw values. Raises InputError where
    they do not fit the features, and for a network without a hidden layer, which has nothing to give to fusion.
    """
    features = input_shape[0]
    sizes = {key: len(stats[key]) for key in ("columns", "fill", "mean", "std")}
    if set(sizes.values()) != {features}:
        raise InputError(f"stats: must hold {features} values a key, one a feature, but holds {sizes}; run split again")
    for column, std in zip(stats["columns"], stats["std"], strict=True):
        if not std > 0:
            raise InputError(f"stats: the deviation of {column!r} is {std}, must be above 0")
    if not network.units:
        raise InputError("network.units: needs at least one hidden layer")

    mean, std = (np.asarray(stats[key], "float32") for key in ("mean", "std"))
    inputs = keras.Input(input_shape, name="table")
    x = ops.where(ops.isnan(inputs), np.asarray(stats["fill"], "float32"), inputs)
    x = (x - mean) / std
    for i, units in enumerate(network.units):
        last = i == len(network.units) - 1
        x = layers.Dense(units, activation="relu", name=EMBEDDING if last else f"hidden_{i}")(x)
        if network.dropout:
            x = layers.Dropout(network.dropout)(x)
    x = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, x, name="mlp")
