"""Metrics of a classifier's predictions, by scikit-learn.

Averages over classes take the classes that have a row in the truth; a class without one has no figure (NaN), for
neither its recall nor the area under its curve is defined. A class that is there and never predicted has precision 0.
"""

from collections.abc import Mapping

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from medpipe.errors import InputError
from medpipe.evaluation.predictions import Predictions

COUNTED = ("precision", "recall", "f1")
RANKED = ("roc_auc", "average_precision")
OVERALL = (
    "accuracy",
    "balanced_accuracy",
    *(f"{average}_{metric}" for average in ("macro", "weighted") for metric in COUNTED),
    *RANKED,
    "log_loss",
)
PER_CLASS = (*COUNTED, *RANKED)


def key(metric: str, name: str) -> str:
    """The name of a class's own metric: `f1:mel`."""
    return f"{metric}:{name}"


def classification_metrics(p: Predictions) -> dict[str, float]:
    """Every metric of OVERALL by its name, and of PER_CLASS as `metric:class`; in [0, 1] except log_loss (nats)."""
    labels = np.arange(len(p.classes))
    support = np.bincount(p.truth, minlength=len(labels))
    present = labels[support > 0]
    values: dict[str, float] = {"accuracy": accuracy_score(p.truth, p.predicted)}
    for average in ("macro", "weighted"):
        scores = precision_recall_fscore_support(p.truth, p.predicted, labels=present, average=average, zero_division=0)
        values |= {f"{average}_{metric}": score for metric, score in zip(COUNTED, scores[:3], strict=True)}
    values["balanced_accuracy"] = values["macro_recall"]
    values["log_loss"] = log_loss(p.truth, p.probabilities, labels=labels)

    per_class = np.stack(
        precision_recall_fscore_support(p.truth, p.predicted, labels=labels, average=None, zero_division=0)[:3]
    )  # (3, k)
    areas = np.full((2, len(labels)), np.nan)
    for c in present:
        areas[1, c] = average_precision_score(p.truth == c, p.probabilities[:, c])
        if support[c] < len(p.truth):
            areas[0, c] = roc_auc_score(p.truth == c, p.probabilities[:, c])
    scores = np.where(support > 0, np.concatenate([per_class, areas]), np.nan)  # (5, k)
    for metric, row in zip(PER_CLASS, scores, strict=True):
        values |= {key(metric, name): score for name, score in zip(p.classes, row, strict=True)}
    for metric, row in zip(RANKED, areas, strict=True):
        values[metric] = mean_of_present(row[None])[0]
    return {name: float(value) for name, value in values.items()}


def mean_of_present(values: np.ndarray) -> np.ndarray:
    """(r, k) to (r,): the mean over the last axis without its NaNs; NaN where there is nothing else."""
    there = np.isfinite(values)
    count = there.sum(axis=1)
    return np.where(count > 0, np.where(there, values, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def confusion(p: Predictions) -> list[list[int]]:
    """Rows: truth, columns: predicted, both in the order of the classes."""
    return confusion_matrix(p.truth, p.predicted, labels=np.arange(len(p.classes))).tolist()


def absent(p: Predictions) -> list[str]:
    """The classes without a row in the truth."""
    return [name for i, name in enumerate(p.classes) if not (p.truth == i).any()]


def zero_r(p: Predictions, training: Mapping[str, int]) -> dict[str, str | float]:
    """What always saying the most frequent class of the training rows (`training`: rows a class) would score."""
    if unknown := set(training) - set(p.classes):
        raise InputError(f"training rows of {', '.join(sorted(unknown))}, which is none of {', '.join(p.classes)}")
    label = max(p.classes, key=lambda name: training.get(name, 0))
    always = np.full_like(p.truth, p.classes.index(label))
    present = np.unique(p.truth)
    values: dict[str, str | float] = {"label": label, "accuracy": float(accuracy_score(p.truth, always))}
    for average in ("macro", "weighted"):
        scores = precision_recall_fscore_support(p.truth, always, labels=present, average=average, zero_division=0)
        values |= {f"{average}_{metric}": float(score) for metric, score in zip(COUNTED, scores[:3], strict=True)}
    values["balanced_accuracy"] = values["macro_recall"]
    return values
