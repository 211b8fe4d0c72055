"""A generator's recipe brought together with the images that it learns from: the split's training rows, no others."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medpipe import backend
from medpipe.data.arrays import Arrays, load_task, targets
from medpipe.errors import SettingError
from medpipe.generation.draw import one_hot
from medpipe.generation.learner import Learner
from medpipe.params import EdmRecipe, Generator, SaganRecipe
from medpipe.training.batches import Samples
from medpipe.training.selection import Rows, thin


@dataclass(frozen=True)
class Reading:
    """A generator's images and their rows in the split.

    - ids: of all rows; labels (n,): places in `classes`
    - train, val: row numbers
    """

    settings: Generator
    arrays: Arrays
    classes: tuple[str, ...]
    ids: npt.NDArray
    labels: Rows
    train: Rows
    val: Rows

    @property
    def side(self) -> int:
        return self.arrays.inputs.shape[1]

    @property
    def samples(self) -> Samples:
        """What trains: images with one-hot classes, of the training rows."""
        return Samples(self.arrays.inputs, one_hot(self.labels, len(self.classes)), self.train)

    def learner(self) -> Learner:
        """What trains. Raises SettingError for images that do not fit the network."""
        # Imported where they are used: a stage then depends on its own kind alone.
        match self.settings:
            case SaganRecipe():
                from medpipe.generation import sagan

                return sagan.learner(self.settings, self.side, len(self.classes))
            case EdmRecipe():
                from medpipe.generation import edm

                return edm.learner(self.settings, self.side, len(self.classes))

    def described(self, deterministic: bool) -> dict[str, Any]:
        """All that the training follows from, code aside; `rows_sha256` is over the ids of the rows that it reads."""
        return self.settings.model_dump(mode="json") | {
            "deterministic": deterministic,
            "backend": backend.name(),
            "variant": self.arrays.variant,
            "classes": list(self.classes),
            "rows": len(self.train),
            "rows_sha256": hashlib.sha256("\n".join(self.ids[self.train]).encode()).hexdigest(),
        }


def assemble(settings: Generator, names: Sequence[str], split: Path, prepared: Path, most: int | None) -> Reading:
    """`names` are the task's classes, `most` the most training rows. Raises SettingError for images that are no square
    and for a class without a training row.
    """
    rows, [arrays] = load_task(split, [prepared / key for key in settings.inputs])
    if arrays.inputs.ndim != 4 or arrays.inputs.shape[1] != arrays.inputs.shape[2]:
        raise SettingError(f"inputs: {arrays.name} holds no square images, which a generator wants; name another")
    labels = targets(rows, names, {})
    train, val = (np.flatnonzero(rows["set"] == part) for part in ("train", "val"))
    if absent := [name for place, name in enumerate(names) if not (labels[train] == place).any()]:
        raise SettingError(f"task: no training row of class {', '.join(absent)}; a generator cannot learn it")
    if most is not None:
        train = thin(train, labels, most, settings.seed)
    return Reading(settings, arrays, tuple(names), rows["id"].to_numpy(str), labels, train, val)
