"""A model's two halves at its layer `embedding`, sharing its weights; and which layers before it train.

Every classifier has that layer: what stands before it makes features, what comes after is the head.
"""

import keras

from medpipe.errors import SettingError

EMBEDDING = "embedding"
# Of the batch normalisation in our own networks. Keras' 0.99 lags hundreds of steps behind: on small data val_loss
# would choose an epoch by statistics of the random start.
MOMENTUM = 0.9


def extractor(model: keras.Model) -> keras.Model:
    """From the model's input to its embedding, (b, features)."""
    return keras.Model(model.inputs[0], model.get_layer(EMBEDDING).output, name="extractor")


def head(model: keras.Model) -> keras.Model:
    """From the embedding, (b, features), to the model's output."""
    return keras.Model(model.get_layer(EMBEDDING).output, model.outputs[0], name="head")


def unfreeze_layers(model: keras.Model, spec: int | str, freeze_norm: bool) -> None:
    """Lets the head and part of the backbone train; compile the model afterwards.

    `spec` is `all`, a number of the backbone's last layers (0: none), or a prefix: all from the first layer whose name
    starts so. Frozen batch normalisation uses its moving statistics and keeps them; with `freeze_norm` all of the
    backbone's is frozen: else the batches' own statistics, in place of those that it was pretrained with, change at one
    stroke what the layers after it and the head have learnt to read. Raises SettingError for more layers than there are
    and for a prefix that no layer has.
    """
    layers = _backbone(model)
    if spec == "all":
        first = 0
    elif isinstance(spec, int):
        if spec > len(layers):
            raise SettingError(f"network.unfreeze: {spec} layers, but the backbone has {len(layers)}; or say all")
        first = len(layers) - spec
    else:
        found = [i for i, layer in enumerate(layers) if layer.name.startswith(spec)]
        if not found:
            raise SettingError(
                f"network.unfreeze: none of the backbone's {len(layers)} layers has a name that starts with {spec!r}; "
                f"its last one is {layers[-1].name!r}"
            )
        first = found[0]
    for i, layer in enumerate(model.layers):
        kept = freeze_norm and i < len(layers) and isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = i >= first and not kept


def _backbone(model: keras.Model) -> list[keras.Layer]:
    names = [layer.name for layer in model.layers]
    return model.layers[: names.index(EMBEDDING)]
