"""Curves of classifiers in few points, for all models of a comparison on one axis."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from medpipe.evaluation.calibration import bins
from medpipe.evaluation.predictions import Predictions

GRID = np.linspace(0, 1, 51)


def curves(predictions: Mapping[str, Predictions]) -> dict[str, Any]:
    """{of, at, models: {name: {roc, precision_recall, reliability}}} of models of the same classes on the same rows.

    - of: whose curves they are: of two classes the second's; of more, `macro`: the mean over the classes that have
      rows and others beside them, each against the rest, at every point of the axis
    - at: the points of the axis, GRID
    - roc: the true positive rate that is reached with a false positive rate of no more than each of them
    - precision_recall: the precision where the recall first reaches each of them; a line from point to point between
      would flatter (Davis & Goadrich 2006, doi:10.1145/1143844.1143874)
    - reliability: [probability, true share, rows] of each of `calibration.bins`
    """
    first = next(iter(predictions.values()))
    numbers = [1] if len(first.classes) == 2 else range(len(first.classes))
    drawn = [c for c in numbers if 0 < (first.truth == c).sum() < len(first.truth)]

    def mean(of: Callable[[np.ndarray, np.ndarray], np.ndarray], p: Predictions) -> list[float] | None:
        found = [of(p.truth == c, p.probabilities[:, c]) for c in drawn]
        return np.mean(found, axis=0).round(4).tolist() if found else None

    return {
        "of": first.classes[1] if len(first.classes) == 2 else "macro",
        "at": GRID.round(4).tolist(),
        "models": {
            name: {
                "roc": mean(_roc, p),
                "precision_recall": mean(_precision, p),
                "reliability": [[round(b["confidence"], 4), round(b["accuracy"], 4), b["rows"]] for b in bins(p)],
            }
            for name, p in predictions.items()
        },
    }


def _roc(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    false, true, _ = roc_curve(truth, score, drop_intermediate=False)
    return true[np.searchsorted(false, GRID, side="right") - 1]


def _precision(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    precision, recall, _ = precision_recall_curve(truth, score)
    # From the highest threshold down, without the point (0, 1) that scikit-learn adds to the end.
    precision, recall = precision[-2::-1], recall[-2::-1]
    return precision[np.searchsorted(recall, GRID, side="left")]
