"""From a model's outputs to its prediction table (the columns: see predictions.py)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.evaluation.metrics import key
from medpipe.evaluation.predictions import COUNTS
from medpipe.evaluation.segmentation import slice_counts
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
    truth: npt.NDArray[np.uint8],
    predicted: npt.NDArray[np.uint8],
    names: Sequence[str],
    p: dict[str, npt.NDArray],
) -> pd.DataFrame:
    """A segmenter's table, or with `p`, of `chances`, a cascade's. Masks (n, h, w), places from 1 in `names`."""
    columns = dict(p)
    for place, name in enumerate(names, 1):
        counts = [slice_counts(a == place, b == place) for a, b in zip(truth, predicted, strict=True)]
        ends = [key(column, name) if len(names) > 1 else column for column in COUNTS]
        columns |= dict(zip(ends, map(np.array, zip(*counts, strict=True)), strict=True))
    return _table(rows, labels, columns)


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
