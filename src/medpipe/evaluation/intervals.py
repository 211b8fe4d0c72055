"""Intervals and paired tests by resampling groups.

Photographs of one lesion and slices of one patient are not independent, so whole groups are drawn with replacement
(the cluster bootstrap; Field & Welsh 2007, doi 10.1111/j.1467-9868.2007.00593.x); validity.py makes intervals of it.
Nothing is computed row by row: a resample is a weight for each group, metrics of counts come from weighted confusion
matrices, areas under curves from weighted ranks.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from scipy.stats import t

from medpipe.errors import InputError
from medpipe.evaluation.metrics import COUNTED, RANKED, classification_metrics, key, mean_of_present
from medpipe.evaluation.predictions import Predictions
from medpipe.evaluation.validity import (
    FLAT,
    UNBOUNDED,
    UNVARIED,
    Scarcest,
    bounds,
    freedom,
    standard_error,
    too_few,
)
from medpipe.params import Evaluate

Name = TypeVar("Name", bound=Hashable)

MEANS = ("accuracy", "weighted_recall", "dice", "iou", "tversky", "hd95")  # over rows or patients
_BLOCK = 1 << 17  # weights of rows held at once: 1 MiB, which a core's cache holds


class Resamples:
    """`count` draws of the g groups that occur in `groups` (n,), with replacement; the same for the same groups."""

    def __init__(self, groups: np.ndarray, count: int, seed: int) -> None:
        self.names, self.codes = np.unique(groups.astype(str), return_inverse=True)  # (g,), (n,)
        size = len(self.names)
        self.picks = np.random.default_rng(seed).integers(size, size=(count, size))  # (count, g), index into names

    @property
    def weights(self) -> np.ndarray:
        """(count, g) float64: how often each group was drawn."""
        count, size = self.picks.shape
        flat = (self.picks + size * np.arange(count)[:, None]).ravel()
        return np.bincount(flat, minlength=count * size).reshape(count, size).astype(np.float64)


@dataclass(frozen=True)
class Estimates:
    """Metrics of one model on one set of rows: their values, and their values in every resample."""

    rows: int
    groups: tuple[str, ...]
    values: dict[str, float]
    draws: dict[str, np.ndarray]  # (resamples,), NaN where a resample has nothing to measure
    scarcest: dict[str, Scarcest] = field(default_factory=dict)  # of the classes that a metric needs

    def interval(self, metric: str, confidence: float) -> dict[str, Any]:
        """{value, low, high}; where no valid interval can be given, `low` and `high` are None and `why` says why."""
        value = self.values[metric]
        if not np.isfinite(value):
            return {"value": None, "low": None, "high": None, "why": "there is nothing to measure"}
        found = bounds(metric, value, self.draws[metric], len(self.groups), self.scarcest.get(metric), confidence)
        if isinstance(found, str):
            return {"value": value, "low": None, "high": None, "why": found}
        return {"value": value, "low": found[0], "high": found[1]}


def paired_difference(a: Estimates, b: Estimates, metric: str, confidence: float) -> dict[str, Any]:
    """{difference, low, high, p} of a - b, both in the same resamples of the same groups; p is two-sided.

    Studentised by the bootstrap's standard error of the difference. Where the groups are too few for an interval of
    the metric, or the difference does not vary, there is neither interval nor such a test: `low`, `high` and `p` are
    None and `why` says why. What does not vary may still have the exact test, of the 2^g ways to exchange the two
    models within groups: where they do not differ all of these show as much, and where all groups differ by the same
    share, as a mean over rows or patients then tells, two do (of rows that are right this is `paired.mcnemar`).
    """
    found = _apart(a, b, metric)
    if isinstance(found, str):
        difference = a.values[metric] - b.values[metric]
        return {"difference": difference if np.isfinite(difference) else None} | _UNTESTED | {"why": found}
    difference, se, degrees = found
    if se < FLAT:
        exact = 1.0 if abs(difference) < FLAT else 2.0**-degrees if metric in MEANS else None
        return {"difference": difference} | _UNTESTED | {"p": exact, "why": UNVARIED}
    reach = float(t.ppf((1 + confidence) / 2, degrees)) * se
    most = np.inf if metric in UNBOUNDED else 1.0
    p = float(2 * t.sf(abs(difference) / se, degrees))
    return {
        "difference": difference,
        "low": max(difference - reach, -most),
        "high": min(difference + reach, most),
        "p": p,
    }


def no_worse(a: Estimates, b: Estimates, metric: str, margin: float) -> float | None:
    """One-sided p of a being worse than b by `margin` or more, where higher is better; None where it cannot be tested.

    A small p shows a to be no worse than that (Schuirmann 1987, doi 10.1007/BF01068419; of both directions at once:
    that the two are equivalent). A difference that does not vary shows nothing.
    """
    found = _apart(a, b, metric)
    if isinstance(found, str):
        return None
    difference, se, degrees = found
    return float(t.sf((difference + margin) / se, degrees)) if se >= FLAT else None


def separate_difference(
    a: Estimates, b: Estimates, metric: str, confidence: float, *, together: bool
) -> dict[str, Any]:
    """{difference, low, high} of a - b, which have no row in common.

    `together`: whether the draws are of the same resamples of both; else of resamples apart. Where either has too few
    groups for an interval of the metric, or nothing varies, `low` and `high` are None and `why` says why.
    """
    difference = a.values[metric] - b.values[metric]
    if not np.isfinite(difference):
        return {"difference": None, "low": None, "high": None, "why": "there is nothing to measure"}
    # Moved on by one where apart: sets of as many groups are drawn by the same numbers.
    draws = a.draws[metric] - (b.draws[metric] if together else np.roll(b.draws[metric], 1))
    sides = [(len(e.groups), e.scarcest.get(metric)) for e in (a, b)]
    degrees = min(freedom(*side) for side in sides)
    se = standard_error(draws, degrees)
    why = next((why for side in sides if (why := too_few(metric, *side))), None)
    if why is None and se < FLAT:
        why = UNVARIED
    if why is not None:
        return {"difference": difference, "low": None, "high": None, "why": why}
    reach = float(t.ppf((1 + confidence) / 2, degrees)) * se
    most = np.inf if metric in UNBOUNDED else 1.0
    return {"difference": difference, "low": max(difference - reach, -most), "high": min(difference + reach, most)}


_UNTESTED: dict[str, None] = dict.fromkeys(("low", "high", "p"))


def _apart(a: Estimates, b: Estimates, metric: str) -> tuple[float, float, int] | str:
    """(difference, standard error, degrees of freedom), or why there is no test."""
    if a.groups != b.groups:
        raise InputError("two models can be compared on the same groups only")
    difference = a.values[metric] - b.values[metric]
    if not np.isfinite(difference):
        return "there is nothing to measure"
    scarcest = a.scarcest.get(metric)
    if why := too_few(metric, len(a.groups), scarcest):
        return why
    degrees = freedom(len(a.groups), scarcest)
    return difference, standard_error(a.draws[metric] - b.draws[metric], degrees), degrees


def holm(p: dict[Name, float | None]) -> dict[Name, float | None]:
    """Holm's correction (1979) of a family of p values, each under its name; None stays None and counts as no test."""
    tested = sorted(((value, name) for name, value in p.items() if value is not None), key=lambda test: test[0])
    corrected: dict[Name, float | None] = dict.fromkeys(p)
    highest = 0.0
    for i, (value, name) in enumerate(tested):
        highest = max(highest, min(1.0, value * (len(tested) - i)))
        corrected[name] = highest
    return corrected


def estimate(p: Predictions, settings: Evaluate, seed: int) -> Estimates:
    """Every metric of `classification_metrics` with its draws."""
    resamples = Resamples(p.groups, settings.resamples, seed)
    draws = resampled_metrics(p, resamples.codes, resamples.weights)
    groups = tuple(resamples.names.tolist())
    return Estimates(len(p.truth), groups, classification_metrics(p), draws, scarcest(p))


def scarcest(p: Predictions) -> dict[str, Scarcest]:
    """Of each metric over classes, the class that it needs and the fewest groups hold, and how many hold it.

    A ranking needs rows of the class and rows of others.
    """
    of_class = {name: len(set(p.groups[p.truth == c])) for c, name in enumerate(p.classes)}
    of_others = {name: len(set(p.groups[p.truth != c])) for c, name in enumerate(p.classes)}
    fewest = min(of_class.items(), key=lambda item: item[1])
    found = dict.fromkeys(("balanced_accuracy", *(f"macro_{metric}" for metric in COUNTED), *RANKED), fewest)
    for name in p.classes:
        found |= {key(metric, name): (name, of_class[name]) for metric in COUNTED}
        held = min((of_class[name], name), (of_others[name], f"classes but {name}"))
        found |= {key(metric, name): held[::-1] for metric in RANKED}
    return found


def resampled_metrics(p: Predictions, codes: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of `classification_metrics` (r,) under the weights (r, g) of groups; `codes` (n,): a row's group."""
    size, k = weights.shape[1], len(p.classes)
    matrices = resampled_confusion(p, codes, weights)
    overall, per_class = counted(matrices)

    chances = p.probabilities[np.arange(len(p.truth)), p.truth]
    loss = -np.log(np.clip(chances, np.finfo(np.float64).eps, None))
    overall["log_loss"] = (weights @ np.bincount(codes, loss, size)) / matrices.sum(axis=(1, 2))

    areas = np.empty((len(weights), 2, k))
    step = max(1, _BLOCK // len(p.truth))
    for start in range(0, len(weights), step):
        rows = np.ascontiguousarray(weights[start : start + step].T)[codes]  # (n, r)
        for c in range(k):
            areas[start : start + step, :, c] = np.stack(ranked(p.truth == c, p.probabilities[:, c], rows), axis=1)
    for i, metric in enumerate(RANKED):
        per_class[metric] = areas[:, i]
        overall[metric] = mean_of_present(areas[:, i])
    return overall | {
        key(metric, name): values[:, c] for metric, values in per_class.items() for c, name in enumerate(p.classes)
    }


def resampled_confusion(p: Predictions, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(r, truth, predicted): the confusion matrix under each row of `weights` (r, g) of groups."""
    size, k = weights.shape[1], len(p.classes)
    counts = np.bincount((codes * k + p.truth) * k + p.predicted, minlength=size * k * k)
    return (weights @ counts.reshape(size, k * k)).reshape(-1, k, k)


def counted(matrices: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Metrics of confusion matrices (r, k, k) with truth in rows: overall (r,) and per class (r, k).

    The same conventions as `classification_metrics`, in every resample for itself.
    """
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    support, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    present = support > 0
    per_class = {
        "precision": _ratio(hits, predicted, present),
        "recall": _ratio(hits, support, present),
        "f1": _ratio(2 * hits, support + predicted, present),
    }
    total = support.sum(axis=1)
    overall = {"accuracy": hits.sum(axis=1) / total, "balanced_accuracy": mean_of_present(per_class["recall"])}
    for metric in COUNTED:
        values = per_class[metric]
        overall[f"macro_{metric}"] = mean_of_present(values)
        overall[f"weighted_{metric}"] = (np.where(present, values, 0) * support).sum(axis=1) / total
    return overall, per_class


def _ratio(part: np.ndarray, whole: np.ndarray, present: np.ndarray) -> np.ndarray:
    """part / whole, 0 where whole is 0, NaN where the class has no row."""
    return np.where(present, part / np.where(whole > 0, whole, 1), np.nan)


def ranked(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ROC-AUC and average precision (r,) of n scores under the row weights (n, r); NaN where a side has no weight.

    `positive`: (n,) bool. Equal scores count half for the AUC and as one threshold for the average precision. Both are
    sums over the positive rows, of which one class in many has few.
    """
    order = np.argsort(scores, kind="stable")
    hits = order[positive[order]]  # (p,) the positive rows by score
    won = scores[hits]
    below = _cumulated(weights[order])  # (n + 1, r) the weight of the rows before each
    found = _cumulated(weights[hits])  # (p + 1, r) the same of positive rows
    lower, upper = (below[np.searchsorted(scores[order], won, side)] for side in ("left", "right"))  # (p, r)
    missed, taken = (found[np.searchsorted(won, won, side)] for side in ("left", "right"))
    own, count, total = weights[hits], found[-1], below[-1]
    wins = (own * (lower - missed + upper - taken)).sum(axis=0) / 2
    pairs = count * (total - count)
    auc = np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), np.nan)

    above = total - lower  # with this score or a higher one
    average = (own * (count - missed) / np.where(above > 0, above, 1)).sum(axis=0)
    return auc, np.where(count > 0, average / np.where(count > 0, count, 1), np.nan)


def _cumulated(weights: np.ndarray) -> np.ndarray:
    """(n, r) to (n + 1, r): the sum of the rows before each, and of all."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums
