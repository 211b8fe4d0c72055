"""From a model's outputs to its prediction table (the columns: see predictions.py)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.data.arrays import Arrays
from medpipe.evaluation.metrics import key
from medpipe.evaluation.predictions import COUNTS
from medpipe.evaluation.segmentation import slice_counts
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


def counting(delivered: Delivery, arrays: Arrays) -> Reduce:
    """Of a batch's outputs, `counts` of `count_masks` against the true masks in place of the masks themselves."""
    truth = arrays.masks
    assert truth is not None

    def reduce(outputs: Outputs, rows: npt.NDArray[np.int64]) -> Outputs:
        counts = count_masks(truth[rows], predict_masks(delivered, outputs), len(arrays.marks))
        return {name: values for name, values in outputs.items() if values.ndim < 4} | {"counts": counts}

    return reduce


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
