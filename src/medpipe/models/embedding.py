"""A model's two halves at its layer `embedding`, sharing its weights; and which layers before it train.

Every classifier has that layer: what stands before it makes features, what comes after is the head.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from medpipe.errors import SettingError
from medpipe.models.ood import EMBEDDING
from medpipe.models.predict import predict

# Of the batch normalisation in our own networks. Keras' 0.99 lags hundreds of steps behind: on small data val_loss
# would choose an epoch by statistics of the random start.
MOMENTUM = 0.9


def extractor(model: keras.Model) -> keras.Model:
    """From the model's input to its embedding, (b, features)."""
    return keras.Model(model.inputs[0], model.get_layer(EMBEDDING).output, name="extractor")


def head(model: keras.Model) -> keras.Model:
    """From the embedding, (b, features), to the model's output."""
    return keras.Model(model.get_layer(EMBEDDING).output, model.outputs[0], name="head")


def observed(model: keras.Model) -> keras.Model | None:
    """The model with one more output, `embedding` (b, features), beside its own by name: one pass gives both.

    Of several models in one, it is their embeddings side by side: of those that read images where any does, for a case
    of which features are unknown is not unlike the others for that. Of a flattened map it is its mean over height and
    width, which has fewer numbers. None for a model without an embedding, as a segmenter.
    """
    if EMBEDDING in (layer.name for layer in model.layers):
        layer = model.get_layer(EMBEDDING)
        flattened = isinstance(layer, keras.layers.Flatten) and len(layer.input.shape) == 4
        mean = keras.layers.GlobalAveragePooling2D(name=f"{EMBEDDING}_mean")
        seen = [mean(layer.input) if flattened else layer.output]
    else:
        of_images: list[keras.KerasTensor] = []
        of_tables: list[keras.KerasTensor] = []

        def call(layer: keras.Operation, *inputs: Any, **named: Any) -> Any:
            part = observed(layer) if isinstance(layer, keras.Model) else None
            if part is None:
                return layer(*inputs, **named)
            outputs = part(*inputs, **named)
            (of_images if any(len(read.shape) == 4 for read in part.inputs) else of_tables).append(outputs[EMBEDDING])
            return outputs["output"]

        # The same layers, called again: what a model in this one has inside cannot be had of its first call.
        model = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
        seen = of_images or of_tables
    if not seen:
        return None
    outputs = model.output if isinstance(model.output, dict) else {"output": model.output}
    # By a name of its own: the one that Keras counts up to may be a loaded layer's.
    together = keras.layers.Concatenate(dtype="float32", name=f"{EMBEDDING}s")
    side_by_side = together(seen) if len(seen) > 1 else seen[0]
    return keras.Model(model.input, outputs | {EMBEDDING: side_by_side}, name=model.name)


def unfreeze_layers(model: keras.Model, spec: int | str, freeze_norm: bool) -> None:
    """Lets the head and part of the backbone train; compile the model afterwards.

    `spec` is `all`, a number of the backbone's last layers (0: none), or a prefix: the layers whose names start so.
    Frozen batch normalisation uses its moving statistics and keeps them; with `freeze_norm` all of the
    backbone's is frozen: else the batches' own statistics, in place of those that it was pretrained with, change at one
    stroke what the layers after it and the head have learnt to read. Raises SettingError for more layers than there are
    and for a prefix that no layer has.
    """
    layers = _backbone(model)
    if spec == "all":
        chosen = layers
    elif isinstance(spec, int):
        if spec > len(layers):
            raise SettingError(f"network.unfreeze: {spec} layers, but the backbone has {len(layers)}; or say all")
        chosen = layers[len(layers) - spec :]
    else:
        chosen = [layer for layer in layers if layer.name.startswith(spec)]
        if not chosen:
            raise SettingError(
                f"network.unfreeze: none of the backbone's {len(layers)} layers has a name that starts with {spec!r}; "
                f"its last one is {layers[-1].name!r}"
            )
    for layer in layers:
        layer.trainable = layer in chosen and not (freeze_norm and isinstance(layer, keras.layers.BatchNormalization))
    for layer in model.layers[len(layers) :]:
        layer.trainable = True


def standardise(model: keras.Model, images: npt.NDArray[np.uint8], batch: int) -> None:
    """Makes the features of a backbone that begins at random and stays frozen tell `images`, (n, h, w, 3), apart.

    At the initial statistics, 0 and 1, no batch normalisation does anything: what comes out grows or dwindles by orders
    of magnitude with depth, and the residual branches of a deep random network drown its input in noise. So a branch
    begins at zero, by the scale of the normalisation that ends it (arXiv 1706.02677), and the backbone's last
    normalisation gives each channel mean 0 and deviation 1 over the images (data-dependent initialisation, arXiv
    1511.06856). Both train from there where they are unfrozen. A backbone without batch normalisation stays as it is.
    """
    layers = _backbone(model)
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        return
    for norm in _ends_of_branches(layers):
        norm.gamma.assign(np.zeros(norm.gamma.shape))
    norm = norms[-1]
    before = predict(keras.Model(model.inputs[0], norm.input), [images], np.arange(len(images)), batch)["output"]
    mean, variance = before.mean((0, 1, 2), np.float64), before.var((0, 1, 2), np.float64)
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(variance)
    # The scale makes up for epsilon. A channel that never varies says nothing, and is left at 0.
    norm.gamma.assign(np.sqrt((variance + norm.epsilon) / np.where(variance > 0, variance, np.inf)))


def _ends_of_branches(layers: list[keras.Layer]) -> list[keras.layers.BatchNormalization]:
    """The normalisations that end residual branches: of each sum's inputs, through dropout, the last one made."""
    makers = {id(layer.output): layer for layer in layers}
    found = []
    for layer in layers:
        if not isinstance(layer, keras.layers.Add):
            continue
        parents = [makers[id(tensor)] for tensor in layer.input]
        while any(isinstance(parent, keras.layers.Dropout) for parent in parents):
            parents = [makers[id(p.input)] if isinstance(p, keras.layers.Dropout) else p for p in parents]
        last = max(parents, key=layers.index)
        if isinstance(last, keras.layers.BatchNormalization):
            found.append(last)
    return found


def _backbone(model: keras.Model) -> list[keras.Layer]:
    names = [layer.name for layer in model.layers]
    return model.layers[: names.index(EMBEDDING)]
