"""From a model's outputs to its prediction table (the columns: see predictions.py)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.evaluation.metrics import key
from medpipe.evaluation.predictions import COUNTS
from medpipe.evaluation.segmentation import slice_counts


def of_classes(rows: pd.DataFrame, labels: Sequence[str], classes: Sequence[str], p: npt.NDArray) -> pd.DataFrame:
    """A classifier's table: `rows` of the split, `labels` after merging, `p` (n, classes), or (n, 1) of the second."""
    if p.shape[1] == 1:
        p = np.concatenate([1 - p, p], axis=1)
    return _table(rows, labels, {f"p_{name}": p[:, i] for i, name in enumerate(classes)})


def of_masks(
    rows: pd.DataFrame,
    labels: Sequence[str],
    truth: npt.NDArray[np.uint8],
    predicted: npt.NDArray[np.uint8],
    names: Sequence[str],
    p: dict[str, npt.NDArray],
) -> pd.DataFrame:
    """A segmenter's table, or with `p` ({class: (n,)}) a cascade's. Masks (n, h, w), places from 1 in `names`."""
    columns = {f"p_{name}": values for name, values in p.items()}
    for place, name in enumerate(names, 1):
        counts = [slice_counts(a == place, b == place) for a, b in zip(truth, predicted, strict=True)]
        ends = [key(column, name) if len(names) > 1 else column for column in COUNTS]
        columns |= dict(zip(ends, map(np.array, zip(*counts, strict=True)), strict=True))
    return _table(rows, labels, columns)


def _table(rows: pd.DataFrame, labels: Sequence[str], columns: dict[str, npt.NDArray]) -> pd.DataFrame:
    keys = rows[["id", "set", "group"]].assign(label=list(labels))
    rest = rows.drop(columns=["id", "set", "group", "label"])
    numbers = pd.DataFrame(columns, index=rows.index)
    return pd.concat([keys, numbers, rest], axis=1).reset_index(drop=True)
