"""The same figures for each value of each subgroup column, and whether the model serves one worse than the rest.

Macro averages of two subgroups with other classes in them are not comparable: each averages over the classes that it
has. So a subgroup is held against all other rows of the set on the classes of which both have enough groups (`ENOUGH`),
by the mean of their recalls, which no mix of classes moves; precision, F1 and accuracy do move with it. These are more
classes than all subgroups of a column have in common, of which the smallest subgroup would leave few.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.evaluation.intervals import (
    Estimates,
    Resamples,
    counted,
    holm,
    resampled_confusion,
    resampled_metrics,
    scarcest,
    separate_difference,
)
from medpipe.evaluation.metrics import COUNTED, OVERALL, PER_CLASS, key
from medpipe.evaluation.predictions import Predictions, subgroup_columns
from medpipe.evaluation.validity import FEWEST
from medpipe.params import Evaluate

SMALL = 20  # groups; an interval from fewer is too narrow to be taken at its word
ENOUGH = FEWEST["balanced_accuracy"]  # groups of a class, in a subgroup and in the rest, from which on it is compared

NONE_SHARED = dict.fromkeys(("value", "low", "high")) | {
    "why": f"there is no class of {ENOUGH} groups or more in it and in the rest"
}

Array = npt.NDArray[np.float64]
Column = dict[str, Any]


def of_classes(p: Predictions, rows: pd.DataFrame, settings: Evaluate, seed: int) -> dict[str, Column]:
    """A classifier's figures by column: {"values": {value: figures}, "test": {metric, subgroups, p, p_holm}}.

    `rows` (n) are those of `p`. A column with one value alone is left out. All figures come from one set of resamples.

    Of each value: rows, groups, `small` (of fewer than SMALL groups), `overall` with intervals, where `shared_recall`
    is the mean recall of the classes of which it and the rest have ENOUGH groups; of those that are not small also
    `per_class` with support and groups, and `against_rest`: the classes compared and the differences from all other
    rows, with intervals, of accuracy, of their mean recall (`balanced_accuracy`) and of each one's precision, recall
    and F1.

    The test (`heterogeneity`) is of the mean recall; `p` of a value is corrected for the values of its column, `p_holm`
    of a column for the columns, by Holm's method.
    """
    resamples = Resamples(p.groups, settings.resamples, seed)
    codes, size = resamples.codes, len(resamples.names)
    weights = np.concatenate([np.ones((1, size)), resamples.weights])  # the first one is no resample, but the rows
    whole = resampled_confusion(p, codes, weights)
    k = len(p.classes)
    support, hits = (
        np.bincount(codes * k + p.truth, some, size * k).reshape(size, k).astype(np.float64)
        for some in (None, p.truth == p.predicted)
    )
    _, strata = np.unique(support > 0, axis=0, return_inverse=True)

    def measure(mine: npt.NDArray[np.bool_], against: bool) -> dict[str, Any]:
        part = _some(p, mine)
        groups = np.unique(codes[mine])
        own = np.searchsorted(groups, codes[mine])
        with np.errstate(invalid="ignore"):  # of a resample without any of these groups: NaN
            draws = resampled_metrics(part, own, weights[:, groups])
        values = {metric: float(drawn[0]) for metric, drawn in draws.items()}
        names = tuple(resamples.names[groups].tolist())
        e = Estimates(len(own), names, values, {metric: drawn[1:] for metric, drawn in draws.items()}, scarcest(part))
        shared = [
            c for c in range(k) if min(len(np.unique(codes[(p.truth == c) & side])) for side in (mine, ~mine)) >= ENOUGH
        ]
        inside = resampled_confusion(part, own, weights[:, groups])
        here = _counted(e, inside, p.classes, shared)
        found: dict[str, Any] = {"overall": {metric: e.interval(metric, settings.confidence) for metric in OVERALL}}
        found["overall"]["shared_recall"] = (
            here.interval("balanced_accuracy", settings.confidence) if shared else NONE_SHARED
        )
        if not against:
            return found
        found["per_class"] = {
            name: {
                "support": int((part.truth == c).sum()),
                "groups": len(np.unique(own[part.truth == c])),
                **{metric: e.interval(key(metric, name), settings.confidence) for metric in PER_CLASS},
            }
            for c, name in enumerate(p.classes)
            if (part.truth == c).any()
        }
        others = _some(p, ~mine)
        rest = Estimates(len(others.truth), tuple(np.unique(others.groups).tolist()), {}, {}, scarcest(others))
        there = _counted(rest, whole - inside, p.classes, shared)
        found["against_rest"] = {
            "classes": [p.classes[c] for c in shared],
            "metrics": {
                metric: separate_difference(here, there, metric, settings.confidence, together=True)
                for metric in here.values
            },
        }
        return found

    return _by_column(rows, codes, measure, hits, support, strata, "balanced_accuracy", settings, seed)


def _some(p: Predictions, rows: npt.NDArray[np.bool_]) -> Predictions:
    return Predictions(p.classes, p.groups[rows], p.truth[rows], p.predicted[rows], p.probabilities[rows])


def of_masks(
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    estimate: Callable[[pd.DataFrame], Estimates],
    metrics: tuple[str, ...],
    settings: Evaluate,
    seed: int,
) -> dict[str, Column]:
    """A segmenter's figures by column, as `of_classes` has them: differences of all `metrics`, the test of mean Dice.

    `scores`: a row a patient, by name; `estimate` measures rows of a table.
    """
    codes = scores.index.get_indexer(pd.Index(rows["group"].astype(str)))
    dice = scores["dice"].to_numpy(np.float64)[:, None]

    def measure(mine: npt.NDArray[np.bool_], against: bool) -> dict[str, Any]:
        e = estimate(rows[mine])
        found: dict[str, Any] = {"overall": {metric: e.interval(metric, settings.confidence) for metric in metrics}}
        if against:
            rest = estimate(rows[~mine])
            differences = {
                metric: separate_difference(e, rest, metric, settings.confidence, together=False) for metric in metrics
            }
            found["against_rest"] = {"classes": [], "metrics": differences}
        return found

    once = np.ones_like(dice)
    return _by_column(rows, codes, measure, dice, once, np.zeros(len(dice), np.int64), "dice", settings, seed)


def _by_column(
    rows: pd.DataFrame,
    codes: npt.NDArray[np.int64],
    measure: Callable[[npt.NDArray[np.bool_], bool], dict[str, Any]],
    hits: Array,
    support: Array,
    strata: npt.NDArray[np.int64],
    metric: str,
    settings: Evaluate,
    seed: int,
) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    orders = _permutations(strata, settings.resamples, seed)
    for column in subgroup_columns(rows):
        names, places = np.unique(rows[column].astype("string").fillna("unknown").to_numpy(str), return_inverse=True)
        if len(names) == 1:
            continue
        counts = np.bincount(codes * len(names) + places, minlength=len(hits) * len(names)).reshape(len(hits), -1)
        sizes = (counts > 0).sum(axis=0)
        large = [v for v in range(len(names)) if sizes[v] >= SMALL]
        values = {
            str(name): {"rows": int((places == v).sum()), "groups": int(sizes[v]), "small": v not in large}
            | measure(places == v, v in large)
            for v, name in enumerate(names)
        }
        p = heterogeneity(counts.argmax(axis=1), hits, support, large, orders)
        tested = {str(names[v]): value for v, value in zip(large, p, strict=True) if value is not None}
        for name, value in tested.items():
            values[name]["against_rest"]["p"] = value
        least = min(tested.values(), default=None)
        columns[column] = {"values": values, "test": {"metric": metric, "subgroups": len(tested), "p": least}}
    for column, corrected in holm({column: found["test"]["p"] for column, found in columns.items()}).items():
        columns[column]["test"]["p_holm"] = corrected
    return columns


def _counted(e: Estimates, matrices: Array, classes: tuple[str, ...], shared: list[int]) -> Estimates:
    """Accuracy, the mean recall of the classes `shared`, and of each its own metrics, of the rows of `e`, by confusion
    matrices (1 + r, k, k), truth in rows.
    """
    with np.errstate(invalid="ignore"):
        overall, per_class = counted(matrices)
    found = {"accuracy": overall["accuracy"]}
    scarcest = dict(e.scarcest)
    if shared:
        found["balanced_accuracy"] = per_class["recall"][:, shared].mean(axis=1)
        found |= {key(metric, classes[c]): per_class[metric][:, c] for metric in COUNTED for c in shared}
        held = [e.scarcest[key("recall", classes[c])] for c in shared]
        scarcest["balanced_accuracy"] = min(held, key=lambda one: one[1])
    values = {metric: float(drawn[0]) for metric, drawn in found.items()}
    draws = {metric: drawn[1:] for metric, drawn in found.items()}
    return Estimates(e.rows, e.groups, values, draws, scarcest)


def heterogeneity(
    subgroup: npt.NDArray[np.int64],
    hits: Array,
    support: Array,
    tested: list[int],
    orders: npt.NDArray[np.int64],
) -> list[float | None]:
    """p of each of the subgroups `tested`: that the model does no better or worse in it than in the rest.

    A permutation test (DiCiccio et al. 2020, arXiv 2007.05124): whole groups, of which `subgroup` (g,) names the
    subgroup of each, change places (`orders`) with groups of the same classes. The statistic is the difference of the
    mean recall from the rest's, of the classes of which both have ENOUGH groups, by its deviation over permutations.
    The largest one of all subgroups tested is the yardstick for each (single-step maxT, Westfall & Young 1993), so that
    the least p is one of all of them at once. Exact where, given its classes, what is said of a group does not hang on
    its subgroup. Of a group whose rows are of several subgroups, that of the most of them counts.

    `hits` and `support` (g, k): right rows and rows of each class. None for a subgroup without a class to compare.
    """
    everyone = hits.sum(axis=0), support.sum(axis=0)
    drawn = np.concatenate([subgroup[None], subgroup[orders]])  # (1 + r, g)
    values = np.full((len(tested), len(drawn)), np.nan)
    for i, v in enumerate(tested):
        there = support > 0
        inside = there[subgroup == v].sum(axis=0)
        shared = np.flatnonzero(np.minimum(inside, there.sum(axis=0) - inside) >= ENOUGH)
        if len(shared):
            member = (drawn == v).astype(np.float64)
            right, rows = member @ hits[:, shared], member @ support[:, shared]  # (1 + r, classes)
            others = (everyone[0][shared] - right) / (everyone[1][shared] - rows)
            values[i] = (right / rows - others).mean(axis=1)
    spread = values.std(axis=1, keepdims=True)
    statistic = np.abs(values) / np.where(spread > 0, spread, np.inf)
    known = np.isfinite(values[:, 0])
    if not known.any():
        return [None] * len(tested)
    largest = statistic[known].max(axis=0)
    p = (largest >= statistic[:, :1] - 1e-12).mean(axis=1)  # the observed one counts as one of them
    return [float(value) if there else None for value, there in zip(p, known, strict=True)]


def _permutations(strata: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """(count, g): orders of the groups in which each takes the place of one of the same stratum."""
    keys = strata + np.random.default_rng(seed).random((count, len(strata)))
    orders = np.empty(keys.shape, np.int64)
    orders[:, np.argsort(strata, kind="stable")] = np.argsort(keys, axis=1)
    return orders
