"""A classifier in two at a feature map: from its inputs to the map, and from the map to the scores of its classes.

What comes before the map is then computed as in any prediction, and a gradient is taken of the rest alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import layers

from medpipe.errors import InputError
from medpipe.models.mean import weights

Tensor = Any  # of the backend
# Smaller maps tell no place. A network that ends in one, as on small images, is cut where it last had more.
LEAST = 4
_NO_FEATURES = (
    layers.InputLayer, layers.ZeroPadding2D, layers.AveragePooling2D, layers.MaxPooling2D,
    layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D,
)  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """- weight: of this one's heat map among those of all members of the model
    - image: the place of the image among the model's inputs
    - features: from the model's inputs to the map (b, h, w, channels)
    - scores: from the map and the inputs on to (b, classes), before softmax or sigmoid
    """

    weight: float
    image: int
    features: Callable[[Sequence[Tensor]], Tensor]
    scores: Callable[[Tensor, Sequence[Tensor]], Tensor]


def cuts(model: keras.Model, layer: str | None) -> list[Cut]:
    """Of each network of images in the model, at its layer of that name, or else at its last feature map of at least
    LEAST x LEAST places, which no pooling made.

    Of a weighted mean each member has scores of its own; of a fusion all lead to those of the fusion. Raises InputError
    where there is nothing to explain so: without an image, with a mask for an answer, without such a layer, and where
    the last layer is none of Dense, whose scores are had before its activation.
    """
    if isinstance(model.output, dict) or len(model.output.shape) != 2:
        raise InputError("heat map: the model answers with a mask, which is its explanation; take a classifier")
    if all(len(tensor.shape) != 4 for tensor in model.inputs):
        raise InputError("heat map: the model reads no image; SHAP values explain one that reads tables")
    shares = weights(model)
    if not shares:
        return list(_cuts(_scored(model), layer))
    clone, calls = _called(model)
    found = []
    for member, (read, _) in calls.items():
        if any(len(tensor.shape) == 4 for tensor in member.inputs):
            for cut in cuts(member, layer):
                found.append(replace(_within(cut, _places(clone, read)), weight=shares[member.name] * cut.weight))
    return found


def _cuts(model: keras.Model, layer: str | None) -> Iterator[Cut]:
    """Of a model whose output are scores, or whatever else an outer one reads."""
    if not any(isinstance(part, keras.Model) for part in model.layers):
        yield _cut(model, layer)
        return
    clone, calls = _called(model)
    shares = weights(model)
    for member, (read, output) in calls.items():
        if not any(len(tensor.shape) == 4 for tensor in member.inputs):
            continue
        rest, weight = keras.Model([output, *clone.inputs], clone.output), shares.get(member.name, 1.0)
        for inner in _cuts(member, layer):
            cut = _within(inner, _places(clone, read))
            yield replace(cut, weight=weight * cut.weight, scores=_onward(cut, rest))


def _onward(cut: Cut, rest: keras.Model) -> Callable[[Tensor, Sequence[Tensor]], Tensor]:
    return lambda x, inputs: rest([cut.scores(x, inputs), *inputs])


def _cut(model: keras.Model, name: str | None) -> Cut:
    maps = [one for one in model.layers if len(getattr(one.output, "shape", ())) == 4]
    if name is None:
        fine = [one for one in maps if not isinstance(one, _NO_FEATURES) and min(one.output.shape[1:3]) >= LEAST]
        if not fine:
            raise InputError(f"heat map: no layer of {model.name} has a feature map of {LEAST} x {LEAST} places")
        chosen = fine[-1]
    else:
        named = [one for one in maps if one.name == name]
        if not named:
            some = ", ".join(one.name for one in maps[-5:])
            raise InputError(f"heat map: {model.name} has no feature map {name!r}; its last ones are {some}")
        [chosen] = named
    front = keras.Model(model.inputs, chosen.output)
    # The inputs once more, for the paths that pass the map by, as the shortcut of a residual block.
    back = keras.Model([chosen.output, *model.inputs], model.output)
    [image] = [place for place, tensor in enumerate(model.inputs) if len(tensor.shape) == 4]
    return Cut(1.0, image, lambda inputs: front([*inputs]), lambda x, inputs: back([x, *inputs]))


def _scored(model: keras.Model) -> keras.Model:
    """The model without the activation of its last layer. Of a fusion that is its head's."""
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        clone, calls = _called(model)
        return keras.Model(clone.inputs, _scored(last)(calls[last][0]), name=model.name)
    if not isinstance(last, layers.Dense):
        raise InputError(f"heat map: {model.name} ends in {last.name}, a {type(last).__name__}; it needs a Dense layer")
    linear = layers.Dense(last.units, use_bias=last.use_bias, dtype=last.dtype_policy, name="scores")
    scores = linear(last.input)
    linear.set_weights(last.get_weights())
    return keras.Model(model.inputs, scores, name=model.name)


def _called(model: keras.Model) -> tuple[keras.Model, dict[keras.Model, tuple[Any, Any]]]:
    """The same layers, called again, and what each model among them reads and gives: its first call does not tell."""
    calls: dict[keras.Model, tuple[Any, Any]] = {}

    def call(layer: keras.Operation, *inputs: Any, **named: Any) -> Any:
        output = layer(*inputs, **named)
        if isinstance(layer, keras.Model):
            calls[layer] = inputs[0], output
        return output

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call), calls


def _places(outer: keras.Model, read: Any) -> list[int]:
    """Which of the outer model's inputs a model in it reads."""
    known = [id(tensor) for tensor in outer.inputs]
    return [known.index(id(tensor)) for tensor in (read if isinstance(read, list | tuple) else [read])]


def _within(cut: Cut, places: list[int]) -> Cut:
    """The same of the outer model's inputs, of which the inner one reads those at `places`."""
    return replace(
        cut,
        image=places[cut.image],
        features=lambda inputs: cut.features([inputs[place] for place in places]),
        scores=lambda x, inputs: cut.scores(x, [inputs[place] for place in places]),
    )
