"""A new model against the reigning champion: the paired difference on test rows."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from medpipe.errors import InputError
from medpipe.evaluation.intervals import Estimates, estimate, paired_difference
from medpipe.evaluation.predictions import check, classified, common, counts, detected, merge_classes
from medpipe.evaluation.segmentation import estimate_masks
from medpipe.params import Compare, Evaluate


@dataclass(frozen=True)
class Contender:
    """A model by its name, its prediction table and its report."""

    name: str
    table: pd.DataFrame
    report: dict[str, Any]


def challenge(new: Contender, old: Contender, settings: Compare, evaluate: Evaluate, seed: int) -> dict[str, Any]:
    """new - old in `settings.metric`, on the test rows that both have, in the same resamples.

    {metric, rows, groups, new, old, difference, low, high, p}, and `why` where there is no valid interval. Two models
    whose answers are the same to the bit do not differ, however few the rows. Dice is a ratio and is compared whatever
    the masks' sizes. Raises InputError where the two cannot be compared: other classes, no such metric, no row in
    common, or one of them answers for one class alone.
    """
    sides = {"new": new, "old": old}
    for side in sides.values():
        if only := side.report.get("only"):
            raise InputError(f"{side.name} answers for {only} alone")
    if settings.metric == "dice":
        for side in sides.values():
            check(side.name, side.table, tuple(side.report["classes"]), counts(new.table))
        rows = common({key: side.table for key, side in sides.items()}, "test")
        found = {key: estimate_masks(table, evaluate, seed) for key, table in rows.items()}
    else:
        found = _classified(sides, settings, evaluate, seed)
    if _answer_alike(sides):
        difference: dict[str, Any] = {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    else:
        difference = paired_difference(found["new"], found["old"], settings.metric, evaluate.confidence)
    return {
        "metric": settings.metric,
        "rows": found["new"].rows,
        "groups": len(found["new"].groups),
        **{key: estimates.values[settings.metric] for key, estimates in found.items()},
        **difference,
    }


def _answer_alike(sides: dict[str, Contender]) -> bool:
    """Whether all answers are the same numbers, as after an edit that did not concern the model; a NaN never is."""
    rows = common({key: side.table for key, side in sides.items()}, "test")
    new, old = (table.filter(regex=r"^(p_|tp|fp|fn)") for table in rows.values())
    return list(new) == list(old) and bool((new == old).all(axis=None))


def _classified(sides: dict[str, Contender], settings: Compare, evaluate: Evaluate, seed: int) -> dict[str, Estimates]:
    merged, classes = {}, {}
    for key, side in sides.items():
        merged[key], classes[key] = merge_classes(side.name, side.table, tuple(side.report["classes"]), settings.merge)
    if set(classes["new"]) != set(classes["old"]):
        raise InputError(f"it knows {', '.join(classes['old'])}, not {', '.join(classes['new'])}")
    found = {}
    for key, table in common(merged, "test").items():
        read = detected if sides[key].report["kind"] == "cascade" else classified
        found[key] = estimate(read(sides[key].name, table, classes["new"]), evaluate, seed)
    return found
