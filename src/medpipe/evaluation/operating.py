"""Operating points of a classifier of two classes: what it does where it says "positive" from another chance on."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from medpipe.evaluation.intervals import Estimates, Resamples, counted, resampled_confusion, scarcest
from medpipe.evaluation.metrics import COUNTED, confusion, key
from medpipe.evaluation.predictions import Predictions
from medpipe.models.decision import NEVER, SLACK
from medpipe.models.temperature import temper
from medpipe.params import Evaluate

MEASURED = ("accuracy", "precision", "recall", "missed", "false_alarms")


def operating_points(
    p: Predictions, chosen: float, temperature: float, settings: Evaluate, seed: int
) -> list[dict[str, Any]]:
    """One entry a threshold of `settings.operating_points`, and the `chosen` one, from high to low.

    Each has `threshold`, `chosen` and {value, low, high} of MEASURED: precision and recall of the second class, its
    rows that were missed, the first one's that were taken for it (counts of these rows, without interval). Positive is
    what the network says of at least the threshold, as others publish it; `tempered` is the same threshold on the scale
    of `p`, which are tempered, infinite where `chosen` is NEVER. Of a cascade it is the classifier's, before a mask is
    looked at.
    """
    points = sorted({*settings.operating_points, chosen}, reverse=True)
    tempered = temper(np.array(points)[:, None], temperature)[:, 1]
    tempered[np.array(points) == NEVER] = np.inf
    return [
        {"threshold": threshold, "tempered": float(least), "chosen": threshold == chosen}
        | _measure(p, least * SLACK, settings, seed)
        for threshold, least in zip(points, tempered, strict=True)
    ]


def headline(points: Iterable[dict[str, Any]]) -> dict[str, float | None]:
    """`recall_at_0.05` and so on."""
    return {f"{metric}_at_{point['threshold']:.4g}": point[metric]["value"] for point in points for metric in MEASURED}


def _measure(p: Predictions, threshold: float, settings: Evaluate, seed: int) -> dict[str, dict[str, Any]]:
    said = replace(p, predicted=(p.probabilities[:, 1] >= threshold).astype(np.int64))
    resamples = Resamples(p.groups, settings.resamples, seed)
    names = {m: key(m, p.classes[1]) if m in COUNTED else m for m in MEASURED}
    draws = _figures(resampled_confusion(said, resamples.codes, resamples.weights))
    values = _figures(np.array([confusion(said)]))
    estimates = Estimates(
        len(p.truth),
        tuple(resamples.names.tolist()),
        {names[metric]: float(value[0]) for metric, value in values.items()},
        {names[metric]: drawn for metric, drawn in draws.items()},
        scarcest(p),
    )
    return {metric: estimates.interval(name, settings.confidence) for metric, name in names.items()}


def _figures(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """(r,) each, of confusion matrices (r, 2, 2) with truth in rows."""
    overall, per_class = counted(matrices)
    return {
        "accuracy": overall["accuracy"],
        "precision": per_class["precision"][:, 1],
        "recall": per_class["recall"][:, 1],
        "missed": matrices[:, 1, 0],
        "false_alarms": matrices[:, 0, 1],
    }
