"""A backbone's weights from a file or another run of ours, with errors that name the layer that does not fit."""

import hashlib
import re
import warnings
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py
import keras

from medpipe.errors import SettingError
from medpipe.models.delivery import MEMBERS
from medpipe.models.embedding import EMBEDDING
from medpipe.registry import stored


def lineage(name: str | None) -> dict[str, str]:
    """What `network.weights` stands for now, for the record: a path's content changes, and an alias moves.

    The file's SHA-256; of a model of the store also its id, its run and its version. Nothing of imagenet and null.
    """
    if name is None or name == "imagenet":
        return {}
    path, about = _locate(name)
    with path.open("rb") as file:
        return about | {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def load(model: keras.Model, name: str) -> None:
    """Sets a backbone's weights from what `network.weights` names.

    - a `.weights.h5` (Keras 3) or a legacy `.h5`, both saved without a classifier on top
    - a `.keras`, `runs:/<run id>`, `models:/<name>@<alias>` or `models:/<name>/<version>`: a delivered classifier, of
      which the layers before `embedding` are taken. It is loaded as Keras loads untrusted files, without lambdas.

    Raises SettingError where there is no such file or model, where an HDF5 file's name does not tell its format (Keras
    goes by the name and then finds no layer), and where a layer does not fit.
    """
    path, _ = _locate(name)
    if path.suffix == ".keras":
        _transfer(model, _delivered(path, name), name)
    else:
        _load_hdf5(model, path)


def _locate(name: str) -> tuple[Path, dict[str, str]]:
    if name.startswith(("runs:/", "models:/")):
        found = stored.find(name)
        about = {"model": found.model, "run": found.run, "version": found.version}
        return found.file, {key: value for key, value in about.items() if value is not None}
    path = Path(name)
    if not path.is_file() and (members := sorted((path.parent / MEMBERS).glob("*"))):
        raise stored.several(name, (member.name for member in members))
    if not path.is_file():
        raise SettingError(
            f"network.weights: {name} not found; give imagenet, the path of a .weights.h5, .h5 or .keras, "
            "runs:/<run id>, models:/<name>@<alias> or null"
        )
    return path, {}


def _delivered(path: Path, name: str) -> list[keras.Layer]:
    """The layers of a delivered classifier's backbone."""
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever it comes upon first
        raise SettingError(f"network.weights: {name} is no model that Keras can load: {error}") from error
    names = [layer.name for layer in model.layers]
    if EMBEDDING not in names:
        if parts := [layer.name for layer in model.layers if isinstance(layer, keras.Model)]:
            raise stored.several(name, parts)
        advice = "give a classifier on the same backbone"
        raise SettingError(f"network.weights: {name} has no layer {EMBEDDING!r}; {advice}")
    return model.layers[: names.index(EMBEDDING)]


def _transfer(model: keras.Model, source: Sequence[keras.Layer], name: str) -> None:
    """Layer by layer in their order, by class and shapes: automatic names differ from one process to the next."""
    pairs = list(zip_longest(_weighted(model.layers), _weighted(source)))
    for layer, other in pairs:
        if layer is None:
            raise SettingError(
                f"network.weights: {name} does not fit {model.name}: it has more layers, the first of them "
                f"{_describe(other)}; give a model of the same backbone and options"
            )
        if other is None or type(layer) is not type(other) or _shapes(layer) != _shapes(other):
            has = "no further layer" if other is None else _describe(other)
            raise SettingError(
                f"network.weights: {name} does not fit {model.name}: where this has {_describe(layer)}, it has {has}; "
                "give a model of the same backbone and options"
            )
    for layer, other in pairs:
        layer.set_weights(other.get_weights())


def _weighted(layers: Sequence[keras.Layer]) -> list[keras.Layer]:
    return [layer for layer in layers if layer.weights]


def _shapes(layer: keras.Layer) -> list[tuple[Any, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _describe(layer: keras.Layer) -> str:
    return f"layer {layer.name!r} ({type(layer).__name__}) with weights of shape {_shapes(layer)}"


def _load_hdf5(model: keras.Model, path: Path) -> None:
    new = path.name.endswith(".weights.h5")
    try:
        with h5py.File(path) as file:
            legacy = _names(file.get("model_weights", file), "layer_names")
            if bool(legacy) == new:
                right = "a legacy file: name it .h5" if new else "in the format of Keras 3: name it .weights.h5"
                raise SettingError(f"network.weights: {path} is {right}")
            if legacy:
                _check_legacy(model, file, path)
    except OSError:
        raise SettingError(f"network.weights: {path} is no HDF5 file; give one that Keras saved") from None
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
    for layer, shapes in zip_longest(_weighted(model.layers), filter(None, stored)):
        if layer is None:
            raise SettingError(f"network.weights: {path} has more layers than {model.name}; save it without classifier")
        needs = _shapes(layer)
        if shapes is None or sorted(needs) != sorted(shapes):
            raise _misfit(model, path, layer.name, str(needs), str(shapes or "none"))


def _misfit(model: keras.Model, path: Path, layer: str, needs: str, has: str) -> SettingError:
    return SettingError(
        f"network.weights: {path} does not fit {model.name}: layer {layer!r} needs weights of shape {needs}, the file "
        f"has {has}; give a file of the same backbone and options"
    )


def _names(group: h5py.Group, key: str) -> list[str]:
    """Keras splits a list that is too long for one attribute into key0, key1, ..."""
    parts = [group.attrs[key]] if key in group.attrs else []
    while f"{key}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{key}{len(parts)}"])
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]
