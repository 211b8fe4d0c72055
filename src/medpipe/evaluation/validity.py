"""The form of an interval, and where one is given: where it was measured to cover the truth at 95 % in 93 % at least.

The figures are in docs/intervals.md, from benchmarks/coverage.py. The form is the studentised one on the logit scale,
on the log scale for what has no upper bound, on its own for net benefit: the bootstrap's standard error, and quantiles
of t with one degree of freedom fewer than there are groups. For a metric that needs several classes these are the
groups that hold the scarcest of them, for a class's own metric the groups that hold the class.
"""

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t

# The fewest groups (lesions, patients) from which on there is an interval. OF_CLASSES and a class's own metrics, as
# `f1:class`, count the groups that hold the scarcest class that they need, all others the groups that they are of.
FEWEST = {
    "accuracy": 4,
    "weighted_f1": 4,
    "rms_calibration_error": 1000,
    "classwise_rms_calibration_error": 1000,
    "specificity": 4,
    "referred": 50,
    "error": 4,
    "wrong": 4,
    "coverage": 4,
    "aurc": 4,
    "dice": 20,
    "dice_median": 4,
    "iou": 4,
    "iou_median": 4,
    "tversky": 20,
    "tversky_median": 4,
    "hd95": 200,
    "hd95_median": 4,
    "balanced_accuracy": 8,
    "macro_precision": 8,
    "macro_f1": 8,
    "roc_auc": 8,
    "average_precision": 8,
    "sensitivity": 8,
    "precision": 8,
    "net_benefit": 8,
    "treat_all": 8,
    "precision:class": 8,
    "recall:class": 8,
    "f1:class": 8,
    "average_precision:class": 8,
    "coverage:class": 8,
    "macro_recall": 8,
    "weighted_recall": 4,
}
OF_CLASSES = (
    *("balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "roc_auc", "average_precision"),
    *("sensitivity", "precision", "net_benefit", "treat_all"),
)
OF_EACH_CLASS = ("precision", "recall", "f1", "roc_auc", "average_precision", "coverage")  # as `f1:mel`
FEWEST_OF_CLASS = (
    8  # groups: with fewer, OF_CLASSES and a class's own metrics have no interval, even if it was measured to cover
)
UNBOUNDED = ("log_loss", "brier", "hd95", "hd95_median", "set_size")
SIGNED = ("net_benefit", "treat_all")
Scarcest = tuple[str, int]  # what a metric needs, as a class, and how many groups have it
FLAT = 1e-9  # a standard error that is rounding alone
UNVARIED = "it is the same in all resamples"


def bounds(
    metric: str, value: float, draws: np.ndarray, groups: int, scarcest: Scarcest | None, confidence: float
) -> tuple[float, float] | str:
    """(low, high) of `metric`, or why there is none. `draws` (r,): its values in resamples of the `groups` groups.

    `scarcest`: of the classes that it needs, the one that the fewest groups hold, and their number; None of a metric
    that all groups have.
    """
    if why := too_few(metric, groups, scarcest):
        return why
    family = _family(metric)
    degrees = freedom(groups, scarcest)
    se = standard_error(draws, degrees)
    if se < FLAT:
        return UNVARIED
    if family not in SIGNED and (value <= 0 or (value >= 1 and family not in UNBOUNDED)):
        return "it lies at the end of its range"
    return studentised(family, value, se, degrees, confidence)


def studentised(family: str, value: float, se: float, degrees: int, confidence: float) -> tuple[float, float]:
    """The interval on the metric's scale, from a standard error on its own (the delta method)."""
    width = t.ppf((1 + confidence) / 2, degrees) * se
    if family in SIGNED:
        return float(value - width), float(value + width)
    if family in UNBOUNDED:
        factor = np.exp(width / value)
        return float(value / factor), float(value * factor)
    low, high = expit(logit(value) + np.array([-1, 1]) * width / (value * (1 - value)))
    return float(low), float(high)


def freedom(groups: int, scarcest: Scarcest | None) -> int:
    """Degrees of freedom of t: one fewer than the groups, of a metric that needs classes those of the scarcest one."""
    return (groups if scarcest is None else scarcest[1]) - 1


def too_few(metric: str, groups: int, scarcest: Scarcest | None) -> str | None:
    """Why there can be no valid interval of `metric`; None where there can."""
    fewest = FEWEST.get(_family(metric))
    if fewest is None:
        return "it was not shown to cover enough at any size"
    of, held = scarcest or ("", groups)
    if held >= fewest:
        return None
    return f"{held} group{'' if held == 1 else 's'}{of and f' of {of}'}: an interval needs {fewest}"


def _family(metric: str) -> str:
    """Where FEWEST has it: a class's own metric stands there for itself, but of masks, whose classes are alike.

    `sensitivity@0.9:mel` is a sensitivity.
    """
    name, _, of = metric.partition(":")
    name = name.partition("@")[0]
    return f"{name}:class" if of and name in OF_EACH_CLASS else name


def standard_error(draws: np.ndarray, degrees: int) -> float:
    """The bootstrap's, without NaN, as if divided by the `degrees` of freedom; 0 where there are none."""
    draws = draws[np.isfinite(draws)]
    return float(draws.std() * np.sqrt((degrees + 1) / degrees)) if len(draws) and degrees > 0 else 0.0
