"""A backbone's weights from a file, with errors that name the layer that does not fit."""

import re
import warnings
from itertools import zip_longest
from pathlib import Path

import h5py
import keras

from medpipe.errors import InputError


def load(model: keras.Model, path: Path) -> None:
    """Sets a model's weights from a `.weights.h5` (Keras 3) or a legacy `.h5`, both saved without a classifier on top.

    Raises InputError where there is no such file, where its name does not tell its format (Keras goes by the name and
    then finds no layer), and where a layer does not fit.
    """
    if not path.is_file():
        raise InputError(f"network.weights: {path} not found; give imagenet, the path of a .weights.h5 or .h5, or null")
    new = path.name.endswith(".weights.h5")
    try:
        with h5py.File(path) as file:
            legacy = _names(file.get("model_weights", file), "layer_names")
            if bool(legacy) == new:
                right = "a legacy file: name it .h5" if new else "in the format of Keras 3: name it .weights.h5"
                raise InputError(f"network.weights: {path} is {right}")
            if legacy:
                _check_legacy(model, file, path)
    except OSError:
        raise InputError(f"network.weights: {path} is no HDF5 file; give one that Keras saved") from None
    try:
        with warnings.catch_warnings():
            # Keras warns of each nested list of an older file, although it loads its layers from elsewhere in the file.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            model.load_weights(path)
    except ValueError as error:
        layer = re.search(r"object <\w+ name=([^,>]+)", str(error))
        shapes = re.search(r"variable\.shape=(\(.*?\)).*?value\.shape=(\(.*?\))", str(error))
        needs, has = shapes.groups() if shapes else ("?", "none")
        raise _misfit(model, path, layer[1] if layer else "?", needs, has) from None


def _check_legacy(model: keras.Model, file: h5py.File, path: Path) -> None:
    """Layers go by their order there: Keras names none where their numbers differ."""
    root = file.get("model_weights", file)
    groups = [root[name] for name in _names(root, "layer_names")]
    stored = [[group[name].shape for name in _names(group, "weight_names")] for group in groups]
    wanted = [layer for layer in model.layers if layer.weights]
    for layer, shapes in zip_longest(wanted, filter(None, stored)):
        if layer is None:
            raise InputError(f"network.weights: {path} has more layers than {model.name}; save it without classifier")
        needs = [tuple(weight.shape) for weight in layer.weights]
        if shapes is None or sorted(needs) != sorted(shapes):
            raise _misfit(model, path, layer.name, str(needs), str(shapes or "none"))


def _misfit(model: keras.Model, path: Path, layer: str, needs: str, has: str) -> InputError:
    return InputError(
        f"network.weights: {path} does not fit {model.name}: layer {layer!r} needs weights of shape {needs}, the file "
        f"has {has}; give a file of the same backbone and options"
    )


def _names(group: h5py.Group, key: str) -> list[str]:
    """Keras splits a list that is too long for one attribute into key0, key1, ..."""
    parts = [group.attrs[key]] if key in group.attrs else []
    while f"{key}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{key}{len(parts)}"])
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]
