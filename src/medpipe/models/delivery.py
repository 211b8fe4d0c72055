"""What a trained model is delivered as: `model.keras` and `recipe.json` in one folder, `model.onnx` once evaluated.

A fusion has its members' files in place of a `model.keras`, `members/<name>/`, and `head.keras` where it has a head.
"""

import json
import shutil
import zipfile
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
HEAD, MEMBERS = "head.keras", "members"  # of a fusion: a file, and a folder of its members' folders
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
            raise damaged(path, error) from error


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

    def write(self, folder: Path, model: "keras.Model | None") -> None:
        """Save the model, and this beside it. Of a fusion `model` is the head, None where it has none."""
        if model is not None:
            model.save(folder / (HEAD if "members" in self.settings else KERAS))
        (folder / RECIPE).write_text(json.dumps(asdict(self), indent=1))


def _map(file: zipfile.ZipFile, name: str, folder: Path) -> npt.NDArray:
    with file.open(name) as packed, TemporaryFile(dir=folder) as plain:
        shutil.copyfileobj(packed, plain)
        plain.flush()
        return np.load(f"/dev/fd/{plain.fileno()}", mmap_mode="r")


def read_recipe(folder: Path) -> Delivery:
    """What the delivered model is, without the model (`network.read`).

    Raises InputError where the folder holds none, or the file is damaged.
    """
    path = folder / RECIPE
    try:
        values = json.loads(path.read_text())
        tuples = {key: tuple(values[key]) for key in ("classes", "inputs", "variants")}
        return Delivery(**(values | tuples | {"features": tuple(map(tuple, values["features"]))}))
    except FileNotFoundError:
        raise lost(path) from None
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from error


def files(folder: Path) -> list[Path]:
    """The recipes and Keras files of the delivered model and of its members, by their paths in the folder.

    Raises InputError where one of them is missing.
    """
    settings = read_recipe(folder).settings
    members = settings.get("members", ())
    weights = [] if members and settings["kind"] in ("mean", "cascade") else [HEAD if members else KERAS]
    for name in weights:
        if not (folder / name).exists():
            raise lost(folder / name)
    own = map(Path, (RECIPE, *weights))
    return sorted([*own, *(Path(MEMBERS, m, file) for m in members for file in files(folder / MEMBERS / m))])


def lost(path: Path) -> InputError:
    return InputError(f"{path.parent}: no delivered model ({path} is missing); train it")


def damaged(path: Path, error: Exception) -> InputError:
    """The error for a file that cannot be read, from the one that told it."""
    told = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    return InputError(
        f"{path}: damaged or of another version ({told}); get it again (`dvc checkout --force {path.parent}`, or from "
        "the model registry), or train it"
    )
