"""From a model's outputs to its prediction table (the columns: see predictions.py)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.data.arrays import Arrays
from medpipe.data.vocabulary import VOLUME
from medpipe.evaluation.metrics import key
from medpipe.evaluation.predictions import COUNTS
from medpipe.evaluation.segmentation import hausdorff95, slice_counts
from medpipe.models import masks, threshold
from medpipe.models.delivery import Delivery
from medpipe.models.predict import Outputs, Reduce
from medpipe.models.temperature import temper


def of_classes(
    rows: pd.DataFrame, labels: Sequence[str], classes: Sequence[str], p: npt.NDArray, temperature: float
) -> pd.DataFrame:
    """A classifier's table: `rows` of the split, `labels` after merging.

    `p`: what the model says, (n, classes), or (n, 1) of the second.
    """
    return _table(rows, labels, chances(classes, p, temperature))


def of_masks(
    rows: pd.DataFrame,
    labels: Sequence[str],
    counts: npt.NDArray[np.float64],
    names: Sequence[str],
    p: dict[str, npt.NDArray],
) -> pd.DataFrame:
    """A segmenter's table, or with `p`, of `chances`, a cascade's. `counts` (n, classes, 4) are of `count_masks`."""
    columns = dict(p)
    for place, name in enumerate(names):
        for column, values in zip(COUNTS, counts[:, place].T, strict=True):
            end = key(column, name) if len(names) > 1 else column
            columns[end] = values if column == "hd95" else values.astype(np.int64)
    return _table(rows, labels, columns)


def count_masks(
    truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], classes: int
) -> npt.NDArray[np.float64]:
    """(n, classes, 4): COUNTS of each class of pixels in masks (n, h, w) in {0, ..., classes}."""
    return np.array(
        [
            [slice_counts(a == place, b == place) for place in range(1, classes + 1)]
            for a, b in zip(truth, predicted, strict=True)
        ]
    )


def predict_masks(delivered: Delivery, outputs: Outputs) -> npt.NDArray[np.uint8]:
    """(n, h, w) in {0, ..., k}: the masks that a segmenter's or cascade's outputs amount to."""
    if delivered.kind == "segmenter":
        return masks.said(outputs["output"])
    assert delivered.threshold is not None
    return threshold.apply(outputs["p"], masks.said(outputs["mask"]), delivered.threshold)[1]


def volumes(rows: pd.DataFrame, arrays: Arrays, chosen: npt.NDArray[np.int64]) -> pd.DataFrame:
    """`rows`, the `chosen` ones of the split, with the column `volume` where they are slices of volumes."""
    found = arrays.volumes
    return rows if found is None else rows.assign(volume=found["volume"].to_numpy()[chosen])


def counting(delivered: Delivery, arrays: Arrays, rows: pd.DataFrame, chosen: npt.NDArray[np.int64]) -> Reduce:
    """Of a batch's outputs, `counts` of `count_masks` against the true masks in place of the masks themselves.

    `rows` are the `chosen` ones of the split. A volume's distance is that of the row with which all of its slices of
    one set have come, and NaN of its other rows.
    """
    truth = arrays.masks
    assert truth is not None
    distances = None
    if arrays.volumes is not None:
        distances = Distances(arrays.volumes.iloc[chosen], rows["set"].tolist(), len(arrays.marks))

    def reduce(outputs: Outputs, rows: npt.NDArray[np.int64]) -> Outputs:
        masks = truth[rows], predict_masks(delivered, outputs)
        counts = count_masks(*masks, len(arrays.marks))
        if distances is not None:
            counts[..., COUNTS.index("hd95")] = [distances.add(*one) for one in zip(rows, *masks, strict=True)]
        return {name: values for name, values in outputs.items() if values.ndim < 4} | {"counts": counts}

    return reduce


class Distances:
    """HD95 of volumes whose slices come one after another, in any order; no more than these wait in memory."""

    def __init__(self, volumes: pd.DataFrame, sets: Sequence[str], classes: int) -> None:
        """`volumes`: of the rows that will come, by number, the columns of VOLUME; `sets`: theirs."""
        self._classes = classes
        self._at = dict(zip(volumes.index.tolist(), volumes[[*VOLUME]].itertuples(index=False, name=None), strict=True))
        self._of = {row: (volume, part) for (row, (volume, *_)), part in zip(self._at.items(), sets, strict=True)}
        self._awaited = Counter(self._of.values())
        self._come: dict[tuple[str, str], list[tuple[int, npt.NDArray, npt.NDArray]]] = {}

    def add(self, row: int, truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """(classes,) mm of the volume that the row of masks (h, w) completes, else NaN. A slice that never comes, since
        it was left out of the data, counts as empty."""
        key, (_, number, *spacing) = self._of[row], self._at[row]
        come = self._come.setdefault(key, [])
        come.append((number, truth, predicted))
        if len(come) < self._awaited[key]:
            return np.full(self._classes, np.nan)
        del self._come[key]
        first, last = (end(place for place, _, _ in come) for end in (min, max))
        whole = np.zeros((2, last - first + 1, *truth.shape), np.uint8)
        for place, *both in come:
            whole[:, place - first] = both
        marked = (whole == place for place in range(1, self._classes + 1))
        return np.array([hausdorff95(truth, predicted, spacing) for truth, predicted in marked])


def chances(classes: Sequence[str], p: npt.NDArray, temperature: float) -> dict[str, npt.NDArray]:
    """The columns of tempered probabilities, and `temperature`, by which `p` (n, classes) or (n, 1) became these."""
    tempered = temper(p, temperature)
    columns = {f"p_{name}": tempered[:, i] for i, name in enumerate(classes)}
    return columns | {"temperature": np.full(len(p), temperature)}


def _table(rows: pd.DataFrame, labels: Sequence[str], columns: dict[str, npt.NDArray]) -> pd.DataFrame:
    keys = rows[["id", "set", "group"]].assign(label=list(labels))
    rest = rows.drop(columns=["id", "set", "group", "label"])
    numbers = pd.DataFrame(columns, index=rows.index)
    return pd.concat([keys, numbers, rest], axis=1).reset_index(drop=True)
