"""What is written of one model: a dozen headline figures of the test set, and a report with all of every set.

All figures are finite numbers; what cannot be measured (the AUC of a class without a row) is null.
"""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from medpipe.errors import InputError
from medpipe.evaluation import operating, subgroups
from medpipe.evaluation.calibration import calibration
from medpipe.evaluation.decisions import decisions, thresholds
from medpipe.evaluation.intervals import Estimates, estimate
from medpipe.evaluation.metrics import OVERALL, PER_CLASS, absent, confusion, key, zero_r
from medpipe.evaluation.predictions import Predictions, check, classified, counts, detected, marks, temperature_of
from medpipe.evaluation.segmentation import METRICS, estimate_masks, patients
from medpipe.evaluation.shift import CLASSES, shift
from medpipe.models.decision import NEVER, Rule
from medpipe.models.temperature import untemper
from medpipe.params import Evaluate

SETS = ("test", "val", "external", "train")
MEASURED = ("test", "external")  # by subgroups, too: of rows that chose nothing
ARGMAX = 0.5  # the threshold of two classes of which the more probable one is said
MASKS = tuple(f"{metric}{end}" for metric in METRICS for end in ("", "_median"))


def classification_report(
    name: str,
    table: pd.DataFrame,
    classes: tuple[str, ...],
    training: Mapping[str, int],
    rule: Rule | None,
    settings: Evaluate,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(headline, report) of a classifier. `training`: the training set's rows a class, for the ZeroR baseline; `rule`:
    what it decides by, if anything.

    Training rows in the table show how far the model has learnt them by heart; they and validation rows are measured
    without subgroups.
    Raises InputError, naming the model and the ids, where the table is wrong or has no test row.
    """
    classified(name, table, classes)
    temperature = temperature_of(name, table, classes)
    own = ARGMAX
    if rule and rule.of == classes[1]:
        own = rule.threshold
        if own != NEVER:
            own = float(untemper(np.array([[1 - own, own]]), temperature)[0, 1])
    at = thresholds(classified(name, table[table["set"] == "val"], classes)) if rule else {}
    sets, estimates = {}, {}
    for part, rows in _sets(name, table):
        p = classified(name, rows, classes)
        estimates[part] = estimate(p, settings, seed)
        sets[part] = _classification(p, estimates[part], training, settings)
        if len(classes) == 2:
            sets[part]["operating_points"] = operating.operating_points(p, own, temperature, settings, seed)
        if part == "train":
            continue
        sets[part]["calibration"] = calibration(p, temperature, settings, seed)
        if rule:
            sets[part]["decisions"] = decisions(p, rule, at, settings, seed)
        if part in MEASURED:
            sets[part]["subgroups"] = subgroups.of_classes(p, rows, settings, seed)
    report: dict[str, Any] = {"model": name, "kind": "classification", "classes": list(classes)}
    report |= {"training": dict(training), "shift": _shift(estimates, CLASSES, classes, settings)}
    points = _published(sets["test"].get("operating_points", ()), settings)
    headline = _headline(sets["test"]) | _trust_headline(sets["test"]) | operating.headline(points)
    return finite(headline), finite(report | _said(settings, seed) | {"sets": sets})


def segmentation_report(
    name: str, table: pd.DataFrame, classes: tuple[str, ...], settings: Evaluate, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(headline, report) of a segmenter."""
    check(name, table, classes, counts(table))
    sets = {part: _masks(part, rows, settings, seed) for part, rows in _sets(name, table)}
    report: dict[str, Any] = {"model": name, "kind": "masks", "classes": list(classes)}
    report |= {"tversky_alpha": settings.tversky_alpha, "shift": _mask_shift(name, table, settings, seed)}
    return finite(_mask_headline(sets["test"])), finite(report | _said(settings, seed) | {"sets": sets})


def cascade_report(
    name: str,
    table: pd.DataFrame,
    classes: tuple[str, ...],
    threshold: float,
    training: Mapping[str, int],
    settings: Evaluate,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(headline, report) of a cascade: its masks over all slices, and as a detector of (negative, positive) slices.

    `threshold`: the one of its classifier.
    """
    detected(name, table, classes)
    temperature = temperature_of(name, table, classes)
    sets = {}
    for part, rows in _sets(name, table):
        p = detected(name, rows, classes)
        detection = _classification(p, estimate(p, settings, seed), training, settings)
        (_, false_alarms), (missed, _) = detection["confusion"]
        detection |= {
            "sensitivity": detection["per_class"][classes[1]]["recall"],
            "specificity": detection["per_class"][classes[0]]["recall"],
            "false_alarms": false_alarms,
            "missed": missed,
            "operating_points": operating.operating_points(p, threshold, temperature, settings, seed),
            "calibration": calibration(p, temperature, settings, seed),
        }
        if part in MEASURED:
            detection["subgroups"] = subgroups.of_classes(p, rows, settings, seed)
        sets[part] = _masks(part, rows, settings, seed) | {"detection": detection}
    test = sets["test"]["detection"]
    headline = _mask_headline(sets["test"]) | {
        "sensitivity": test["sensitivity"]["value"],
        "specificity": test["specificity"]["value"],
        "missed": test["missed"],
        "false_alarms": test["false_alarms"],
        "accuracy": test["overall"]["accuracy"]["value"],
        "threshold": threshold,
        **_trust_headline(test),
        **operating.headline(_published(test["operating_points"], settings)),
    }
    report: dict[str, Any] = {"model": name, "kind": "cascade", "classes": list(classes), "training": dict(training)}
    report |= {"tversky_alpha": settings.tversky_alpha, "shift": _mask_shift(name, table, settings, seed)}
    report |= _said(settings, seed) | {"sets": sets}
    return finite(headline), finite(report)


def _sets(name: str, table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    present = [(part, table[table["set"] == part]) for part in SETS if (table["set"] == part).any()]
    if not present or present[0][0] != "test":
        raise InputError(f"{name}: its predictions have no test row; give split.test a larger share")
    return present


def _said(settings: Evaluate, seed: int) -> dict[str, Any]:
    said = {"resamples": settings.resamples, "confidence": settings.confidence}
    return said | {"seed": seed, "small_groups": subgroups.SMALL}


def _classification(p: Predictions, e: Estimates, training: Mapping[str, int], settings: Evaluate) -> dict[str, Any]:
    interval = partial(e.interval, confidence=settings.confidence)
    return {
        "rows": e.rows,
        "groups": len(e.groups),
        "overall": {metric: interval(metric) for metric in OVERALL},
        "per_class": {
            name: {
                "support": int((p.truth == c).sum()),
                "groups": len(set(p.groups[p.truth == c])),
                **{metric: interval(key(metric, name)) for metric in PER_CLASS},
            }
            for c, name in enumerate(p.classes)
        },
        "absent": absent(p),
        "confusion": confusion(p),
        "zero_r": zero_r(p, training),
    }


def _masks(part: str, rows: pd.DataFrame, settings: Evaluate, seed: int) -> dict[str, Any]:
    e = estimate_masks(rows, settings, seed)
    scores = patients(rows, settings.tversky_alpha)
    found = {
        "rows": e.rows,
        "groups": len(e.groups),
        "overall": {metric: e.interval(metric, settings.confidence) for metric in MASKS},
        "per_class": {
            mark[1:]: {metric: e.interval(f"{metric}{mark}", settings.confidence) for metric in MASKS}
            for mark in marks(rows)
            if mark
        },
        "patients": {str(patient): values for patient, values in scores.to_dict(orient="index").items()},
    }
    if part in MEASURED:
        measure = partial(estimate_masks, settings=settings, seed=seed)
        found["subgroups"] = subgroups.of_masks(rows, scores, measure, MASKS, settings, seed)
    return found


def _shift(
    estimates: Mapping[str, Estimates], metrics: tuple[str, ...], classes: tuple[str, ...], settings: Evaluate
) -> dict[str, Any] | None:
    """None where there is no external set."""
    if "external" not in estimates:
        return None
    return shift(estimates["test"], estimates["external"], metrics, classes, settings.confidence)


def _mask_shift(name: str, table: pd.DataFrame, settings: Evaluate, seed: int) -> dict[str, Any] | None:
    parts = {part: rows for part, rows in _sets(name, table) if part in MEASURED}
    return _shift({part: estimate_masks(rows, settings, seed) for part, rows in parts.items()}, MASKS, (), settings)


def _headline(test: dict[str, Any]) -> dict[str, Any]:
    names = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "roc_auc", "average_precision", "log_loss")
    headline = {name: test["overall"][name]["value"] for name in names}
    for name in ("accuracy", "macro_f1"):
        headline |= {f"{name}_{end}": test["overall"][name][end] for end in ("low", "high")}
    return headline | {f"zero_r_{name}": test["zero_r"][name] for name in ("accuracy", "macro_f1")}


def _published(points: Iterable[dict[str, Any]], settings: Evaluate) -> list[dict[str, Any]]:
    """Those whose names do not change from run to run."""
    return [point for point in points if point["threshold"] in settings.operating_points]


def _trust_headline(test: dict[str, Any]) -> dict[str, Any]:
    """Calibration and decisions of the test rows, `ece_before` being that of what the network says."""
    after, before = (test["calibration"][when] for when in ("after", "before"))
    found = {"temperature": test["calibration"]["temperature"], "ece_before": before["ece"]["value"]}
    found |= {name: after[name]["value"] for name in ("ece", "rms_calibration_error", "brier")}
    if "decisions" in test:
        names = ("sensitivity", "specificity", "referred", "error", "aurc", "coverage", "set_size")
        found |= {f"decided_{name}": test["decisions"]["figures"][name]["value"] for name in names}
    return found


def _mask_headline(test: dict[str, Any]) -> dict[str, Any]:
    overall = test["overall"]
    return {
        "dice": overall["dice"]["value"],
        "dice_low": overall["dice"]["low"],
        "dice_high": overall["dice"]["high"],
        **{name: overall[name]["value"] for name in ("dice_median", "iou", "tversky", "hd95")},
        **{f"dice/{name}": of["dice"]["value"] for name, of in test["per_class"].items()},
    }


def finite(value: Any) -> Any:
    """The same without NaN or infinity, which JSON does not know: null."""
    match value:
        case dict():
            return {name: finite(inner) for name, inner in value.items()}
        case list() | tuple():
            return [finite(inner) for inner in value]
        case float():
            return value if math.isfinite(value) else None
    return value
