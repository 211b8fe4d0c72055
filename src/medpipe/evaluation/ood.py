"""The out-of-distribution score of a model: fitted to its training rows, calibrated on validation rows, measured."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.utils.extmath import randomized_svd

from medpipe.evaluation.intervals import Estimates, Resamples, ranked
from medpipe.models.ood import COLUMN, Detector
from medpipe.models.predict import require_finite
from medpipe.params import Evaluate

AXES = 64  # at most; a whole covariance of 1,792 features would take 13 MB beside the model
FLAGGED = 0.05


def fit(embedding: npt.NDArray, labels: npt.NDArray[np.int64], validation: npt.NDArray) -> Detector:
    """The detector of training rows' embeddings (n, d) of classes `labels` (n,), and validation rows' (m, d).

    The covariance is that within classes, of features of deviation 1, shrunk as Ledoit & Wolf do (2004,
    doi:10.1016/S0047-259X(03)00096-4). Of its axes AXES are kept, and one variance for all others. Raises InputError
    where an embedding is not a number.
    """
    for rows in (embedding, validation):
        require_finite("embedding", rows)
    names, places = np.unique(labels, return_inverse=True)
    embedding = embedding.astype(np.float64)
    means = np.stack([embedding[places == c].mean(axis=0) for c in range(len(names))])
    centred = embedding - means[places]
    scale = centred.std(axis=0)
    scale[scale < 1e-6 * max(scale.max(), 1e-6)] = 1.0  # a unit that never fires
    centred = centred / scale
    n, d = centred.shape
    shrinkage = ledoit_wolf_shrinkage(centred, assume_centered=True)
    whole = (centred**2).sum() / n
    _, singular, axes = randomized_svd(centred, min(AXES, n, d), random_state=0)
    kept = singular**2 / n
    others = max(d - len(kept), 1)
    least = max(1e-6 * whole / d, 1e-12)  # where all rows are alike
    variances = np.maximum((1 - shrinkage) * kept + shrinkage * whole / d, least)
    rest = max((1 - shrinkage) * (whole - kept.sum()) / others + shrinkage * whole / d, least)
    values = (scale, means / scale, axes, variances, np.array(rest), np.empty(0))
    detector = Detector(*(np.asarray(value, np.float32) for value in values))
    return replace(detector, known=np.sort(detector.distance(validation).astype(np.float32)))


def measure(table: pd.DataFrame, settings: Evaluate, seed: int) -> dict[str, Any]:
    """Of a prediction table with the score: `flagged`, the share of test and external rows that score 0.05 or less,
    and `auroc`, of telling external rows from test rows by it; each {value, low, high}, over whole groups.
    """
    parts = {part: rows for part in ("test", "external") if len(rows := table[table["set"] == part])}
    drawn = {part: Resamples(rows["group"].to_numpy(object), settings.resamples, seed) for part, rows in parts.items()}
    weights = {
        part: np.concatenate([np.ones((1, len(of.names))), np.roll(of.weights, place, axis=0)]).T[of.codes]
        for place, (part, of) in enumerate(drawn.items())
    }  # (n, 1 + r); the sets' resamples are no pairs

    def interval(part: str, like: str, values: npt.NDArray) -> dict[str, Any]:
        names = tuple(drawn[part].names.tolist())
        found = Estimates(len(parts[part]), names, {like: float(values[0])}, {like: values[1:]})
        return found.interval(like, settings.confidence)

    report: dict[str, Any] = {"level": FLAGGED, "flagged": {}}
    for part, rows in parts.items():
        far = (rows[COLUMN] <= FLAGGED).to_numpy(np.float64)
        report["flagged"][part] = interval(part, "accuracy", far @ weights[part] / weights[part].sum(axis=0))
    if len(parts) == 2:
        both = pd.concat(parts.values())
        external = (both["set"] == "external").to_numpy()
        areas, _ = ranked(external, -both[COLUMN].to_numpy(np.float64), np.concatenate([*weights.values()]))
        report["auroc"] = interval(min(parts, key=lambda part: len(drawn[part].names)), "roc_auc", areas)
    return report
