"""Fusion of two trained models: a small head over what both say (late) or over what both see (early).

The head trains alone, on features computed once; then all three become one model with an input a member.
"""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import layers

from medpipe.models.embedding import extractor

At = Literal["output", "embedding"]


def features(member: keras.Model, at: At) -> keras.Model:
    """From a member's input to what the head reads of it, (b, features): its probabilities or its embedding."""
    return member if at == "output" else extractor(member)


def late(members: Sequence[keras.Model], classes: int, units: Sequence[int]) -> keras.Model:
    """The head over the members' probabilities, side by side: (b, sum of their classes) -> (b, classes)."""
    return _head(members, "output", classes, units)


def early(members: Sequence[keras.Model], classes: int, units: Sequence[int]) -> keras.Model:
    """The head over the members' embeddings, side by side: (b, sum of their features) -> (b, classes)."""
    return _head(members, "embedding", classes, units)


def stacked(members: Sequence[keras.Model], regression: Any, classes: int) -> keras.Model:
    """The head that a fitted scikit-learn LogisticRegression over the members' probabilities amounts to.

    `regression.classes_` are class numbers; a class that it never saw gets probability 0.
    """
    head = _head(members, "output", classes, ())
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:
        # Two classes share one row, the second one's log odds.
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([[0.0], intercepts])
    kernel = np.zeros((head.input_shape[-1], classes))
    bias = np.full(classes, -1e9)
    kernel[:, regression.classes_] = coefficients.T
    bias[regression.classes_] = intercepts
    head.get_layer("probabilities").set_weights([kernel, bias])
    return head


def compose(members: Sequence[keras.Model], head: keras.Model, at: At) -> keras.Model:
    """One model with the members' inputs in their order -> (b, classes). Weights are shared, the members' frozen."""
    kinds = ["table" if len(member.input_shape) == 2 else "image" for member in members]
    names = kinds if len(set(kinds)) == len(kinds) else [f"{kind}_{i}" for i, kind in enumerate(kinds)]
    inputs, read = [], []
    for member, name in zip(members, names, strict=True):
        part = features(member, at)
        # A name of its own: two members may have the same.
        part = keras.Model(part.inputs[0], part.outputs[0], name=f"{name}_member")
        part.trainable = False
        inputs.append(keras.Input(member.input_shape[1:], name=name))
        read.append(part(inputs[-1]))
    return keras.Model(inputs, head(layers.Concatenate(dtype="float32")(read)), name="fusion")


def _head(members: Sequence[keras.Model], at: At, classes: int, units: Sequence[int]) -> keras.Model:
    width = sum(features(member, at).output_shape[-1] for member in members)
    x = inputs = keras.Input((width,), name="features")
    for count in units:
        x = layers.Dense(count, activation="relu", dtype="float32")(x)
    x = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, x, name="fusion_head")
