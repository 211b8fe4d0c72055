"""Generated images among those that a model trains on, never among those that judge it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.data.arrays import Arrays, targets
from medpipe.errors import SettingError
from medpipe.training.selection import Rows


@dataclass(frozen=True)
class Generated:
    """What a generator drew: images (g, h, w, 3) uint8 and their places in the recipe's classes (g,)."""

    arrays: Arrays
    labels: Rows


def load(folder: Path, names: Sequence[str], merge: Mapping[str, Sequence[str]]) -> Generated:
    """What the stage measure wrote. `names` are the task's classes.

    Raises SettingError where the share of copies of training images is surely over the generator's limit.
    """
    arrays = Arrays(folder)
    meta = json.loads((folder / "meta.json").read_text())
    check(arrays.name, meta["memorised"])
    return Generated(arrays, targets(pd.DataFrame({"id": arrays.ids, "label": meta["labels"]}), names, merge))


def check(name: str, memorised: Mapping[str, Any]) -> None:
    limit = memorised["limit"]
    for key in ("pixels", "features"):
        found = memorised[key]
        if not found["low"] <= limit:
            raise SettingError(
                f"inputs: {name} gives its training images back: by {key} {found['share']:.1%} of its images "
                f"[{found['low']:.1%}, {found['high']:.1%}] are copies, the limit is {limit:.1%} "
                f"(generators.{name}.memorised.limit); train it on fewer steps, or a SAGAN with diffaugment"
            )


class Stacked:
    """Real images (n, h, w, 3) and behind them generated ones, brought to their size where they are read (bilinear)."""

    def __init__(self, real: npt.NDArray[np.uint8], generated: npt.NDArray[np.uint8]) -> None:
        self._real, self._generated = real, generated
        self.shape, self.ndim, self.dtype = (len(real) + len(generated), *real.shape[1:]), real.ndim, real.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Rows) -> npt.NDArray[np.uint8]:
        found, count = np.empty((len(rows), *self.shape[1:]), self.dtype), len(self._real)
        real = rows < count
        found[real] = self._real[rows[real]]
        height, width = self.shape[1:3]
        for place in np.flatnonzero(~real):
            found[place] = cv2.resize(np.asarray(self._generated[rows[place] - count]), (width, height))
        return found
