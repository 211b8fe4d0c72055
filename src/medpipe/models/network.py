"""The Keras model of a delivered folder: one file's, or composed of the files of a fusion's members and of its head."""

from collections.abc import Iterator
from pathlib import Path

import keras

from medpipe.models import cascade, fusion
from medpipe.models.delivery import HEAD, KERAS, MEMBERS, Delivery, damaged, lost, read_recipe
from medpipe.models.mean import mean


def read(folder: Path) -> tuple[Delivery, keras.Model]:
    """The delivered model, not compiled, `in_float32`.

    Raises InputError where the folder or that of a member holds none, or a file is damaged.
    """
    delivery = read_recipe(folder)
    if not (folder / MEMBERS).exists():
        return delivery, _load(folder / KERAS)
    settings = delivery.settings
    parts, models = zip(*(read(folder / MEMBERS / name) for name in settings["members"]), strict=True)
    match settings["kind"]:
        case "mean":
            inputs = [key for part in parts for key in part.inputs]
            return delivery, mean(models, inputs, [member["weight"] for member in settings["members"].values()])
        case "cascade":
            return delivery, cascade.compose(*models)
        case kind:
            at: fusion.At = "embedding" if kind == "early" else "output"
            return delivery, fusion.compose(models, _load(folder / HEAD), at)


def _load(path: Path) -> keras.Model:
    if not path.exists():
        raise lost(path)
    try:
        return in_float32(keras.models.load_model(path, compile=False))
    except Exception as error:  # zipfile's, h5py's and Keras' own
        raise damaged(path, error) from error


def in_float32(model: keras.Model) -> keras.Model:
    """The same model, which computes in float32 from now on, as it is served, also after training in half precision."""
    for layer in _layers(model):
        layer.dtype_policy = "float32"
    return model


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """With the layers of models in it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)
