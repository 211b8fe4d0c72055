"""The weighted mean of trained models as one model."""

import re
from collections.abc import Sequence

import keras
from keras import layers


def mean(members: Sequence[keras.Model], reads: Sequence[str], weights: Sequence[float]) -> keras.Model:
    """One model -> sum of weight times member's output, in float32; the weights add up to 1.

    `reads` names what each input of the members, in their order, reads: inputs of one name become one, in the order in
    which the names come first. Beside members with two outputs, (b, 2), one sigmoid, (b, 1), counts as the second of
    two. The members are shared, not copied, and must not share layers with each other, or what was saved will not load.
    Built of Keras' own layers.
    """
    widest = max(member.output_shape[-1] for member in members)
    shapes = [tensor.shape[1:] for member in members for tensor in member.inputs]
    inputs: dict[str, keras.KerasTensor] = {}
    for name, shape in zip(reads, shapes, strict=True):
        inputs.setdefault(name, keras.Input(shape, name=name))
    names = iter(reads)
    parts = []
    for i, (member, weight) in enumerate(zip(members, weights, strict=True)):
        # A name of its own: members are often alike.
        renamed = keras.Model(_single(member.inputs), member.outputs[0], name=f"member_{i + 1}")
        x = renamed(_single([inputs[next(names)] for _ in member.inputs]))
        if x.shape[-1] < widest:
            x = layers.Concatenate(dtype="float32")([layers.Rescaling(-1.0, 1.0, dtype="float32")(x), x])
        parts.append(layers.Rescaling(float(weight), dtype="float32", name=f"weight_{i + 1}")(x))
    total = layers.Add(dtype="float32", name="mean")(parts) if len(parts) > 1 else parts[0]
    return keras.Model(_single([*inputs.values()]), total, name="mean")


def weights(model: keras.Model) -> dict[str, float]:
    """The members' weights by their layers' names, of a model that `mean` made; of any other none."""
    found = {layer.name: layer for layer in model.layers if re.fullmatch(r"weight_\d+", layer.name)}
    return {name.replace("weight", "member"): layer.scale for name, layer in found.items()}


def _single(tensors: list[keras.KerasTensor]) -> list[keras.KerasTensor] | keras.KerasTensor:
    """A model of one input is called with a tensor, not with a list."""
    return tensors if len(tensors) > 1 else tensors[0]
