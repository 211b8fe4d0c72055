"""From a model's outputs to its prediction table (the columns: see predictions.py)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

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
    p: dict[str, npt.NDArray],
) -> pd.DataFrame:
    """A segmenter's table, or with `p` ({class: (n,)}) a cascade's. Masks (n, h, w) in {0, 1}."""
    counts = [slice_counts(*pair) for pair in zip(truth, predicted, strict=True)]
    columns = dict(zip(("tp", "fp", "fn", "hd95"), map(np.array, zip(*counts, strict=True)), strict=True))
    return _table(rows, labels, {f"p_{name}": values for name, values in p.items()} | columns)


def _table(rows: pd.DataFrame, labels: Sequence[str], columns: dict[str, npt.NDArray]) -> pd.DataFrame:
    keys = rows[["id", "set", "group"]].assign(label=list(labels))
    rest = rows.drop(columns=["id", "set", "group", "label"])
    numbers = pd.DataFrame(columns, index=rows.index)
    return pd.concat([keys, numbers, rest], axis=1).reset_index(drop=True)
