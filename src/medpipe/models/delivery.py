"""What a trained model is delivered as: `model.keras` and `recipe.json` in one folder, `model.onnx` once evaluated."""

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from medpipe.errors import InputError

if TYPE_CHECKING:
    import keras  # what packs a model does without

KERAS, RECIPE = "model.keras", "recipe.json"
GRAPH = "model.onnx"  # the model that is served

Kind = Literal["classifier", "segmenter", "cascade"]


@dataclass(frozen=True)
class OutOfFold:
    """What the models of a cross-validation said of the rows that they were not trained on.

    - rows (m,): row numbers of the split, ascending
    - output (m, ...): probabilities, or a segmenter's in {0, 1} (`masks.hard`)
    """

    rows: npt.NDArray[np.int64]
    output: npt.NDArray

    def of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray:
        """The output of these row numbers. Raises ValueError where one is not known."""
        if not np.isin(rows, self.rows).all():
            raise ValueError("a row has no out-of-fold prediction")
        return self.output[np.searchsorted(self.rows, rows)]

    def write(self, folder: Path) -> None:
        np.savez_compressed(folder / "out_of_fold.npz", rows=self.rows, output=self.output)

    @classmethod
    def read(cls, folder: Path) -> "OutOfFold | None":
        """None where the folder is of a model that was not cross-validated. Raises InputError for a damaged file.

        The arrays are mapped, from files without a name on the folder's disk, which go with them: masks of all rows may
        take more memory than there is.
        """
        path = folder / "out_of_fold.npz"
        if not path.exists():
            return None
        try:
            with zipfile.ZipFile(path) as file:
                return cls(*(_map(file, f"{name}.npy", folder) for name in ("rows", "output")))
        except Exception as error:  # zipfile's, zlib's and NumPy's own
            raise _damaged(path, error) from error


@dataclass(frozen=True)
class Delivery:
    """All that evaluation and serving must know of a model beside its weights."""

    name: str
    task: str
    kind: Kind
    classes: tuple[str, ...]
    inputs: tuple[str, ...]  # prepared variants, one a model input
    variants: tuple[dict[str, Any], ...]  # their settings, as used
    features: tuple[tuple[str, ...], ...]  # names of the columns of each input; () for images
    stats: dict[str, Any]
    threshold: float | None  # of the cascade's classifier
    settings: dict[str, Any]  # of the training, resolved

    @property
    def marks(self) -> tuple[str, ...]:
        """The classes of pixels, beside background, that masks beside its images mark."""
        return tuple(self.variants[0].get("mask_values") or ())

    def write(self, folder: Path, model: "keras.Model") -> None:
        """Save the model, and this beside it."""
        model.save(folder / KERAS)
        (folder / RECIPE).write_text(json.dumps(asdict(self), indent=1))


def _map(file: zipfile.ZipFile, name: str, folder: Path) -> npt.NDArray:
    with file.open(name) as packed, TemporaryFile(dir=folder) as plain:
        shutil.copyfileobj(packed, plain)
        plain.flush()
        return np.load(f"/dev/fd/{plain.fileno()}", mmap_mode="r")


def read(folder: Path) -> tuple[Delivery, "keras.Model"]:
    """The delivered model, not compiled, `in_float32`.

    Raises InputError where the folder holds none, or a file of it is damaged.
    """
    import keras

    delivery, path = read_recipe(folder), folder / KERAS
    if not path.exists():
        raise _lost(path)
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # zipfile's, h5py's and Keras' own
        raise _damaged(path, error) from error
    return delivery, in_float32(model)


def in_float32(model: "keras.Model") -> "keras.Model":
    """The same model, which computes in float32 from now on, as it is served, also after training in half precision."""
    for layer in _layers(model):
        layer.dtype_policy = "float32"
    return model


def _layers(model: "keras.Model") -> "Iterator[keras.Layer]":
    """With the layers of models in it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def read_recipe(folder: Path) -> Delivery:
    """What the delivered model is, without the model. Raises InputError as `read` does."""
    path = folder / RECIPE
    try:
        values = json.loads(path.read_text())
        tuples = {key: tuple(values[key]) for key in ("classes", "inputs", "variants")}
        return Delivery(**(values | tuples | {"features": tuple(map(tuple, values["features"]))}))
    except FileNotFoundError:
        raise _lost(path) from None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _lost(path: Path) -> InputError:
    return InputError(f"{path.parent}: no delivered model ({path} is missing); train it")


def _damaged(path: Path, error: Exception) -> InputError:
    """The error for a file that cannot be read, from the one that told it."""
    told = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    return InputError(
        f"{path}: damaged or of another version ({told}); get it again (`dvc checkout --force {path.parent}`, or from "
        "the model registry), or train it"
    )
