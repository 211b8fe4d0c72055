"""A task's models beside each other: on the same rows, in the same classes, in the same resamples.

Validation rows rank and choose the best: those that all models have. Test rows report. Classifiers and segmenters
answer different questions and stand in sections of their own; a cascade is in both. A segmenter of one class alone
(`only`) is listed but cannot be the best, for nobody knows that class beforehand; its differences from the others are
taken on the rows that both have.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from medpipe.errors import InputError
from medpipe.evaluation import trust
from medpipe.evaluation.curves import curves
from medpipe.evaluation.intervals import Estimates, estimate
from medpipe.evaluation.metrics import COUNTED, OVERALL, PER_CLASS, confusion, zero_r
from medpipe.evaluation.paired import delong, mcnemar
from medpipe.evaluation.populations import populations
from medpipe.evaluation.predictions import (
    Predictions,
    check,
    classified,
    common_validation,
    counts,
    detected,
    marks,
    merge_classes,
    same_rows,
)
from medpipe.evaluation.ranked import ranked
from medpipe.evaluation.report import MASKS, finite
from medpipe.evaluation.segmentation import METRICS, estimate_masks
from medpipe.params import Compare, Evaluate

Tables = dict[str, pd.DataFrame]
Reports = dict[str, dict[str, Any]]

# Metrics of all rows, of each class, and of each class of a pair, of which pages show the last first.
_CLASSES = (OVERALL, PER_CLASS, COUNTED)
_MASKS = (MASKS, METRICS, ("dice",))


def compare(
    tables: Tables, reports: Reports, split: Mapping[str, Any], settings: Compare, evaluate: Evaluate, seed: int
) -> dict[str, Any]:
    """The comparison of the models in `tables`, whose first one is the baseline.

    `reports`: what evaluate wrote of each; `split`: split.json. The result has `best`
    (None where every model is of one class alone) and `ranking` by `settings.metric` on validation rows, and the
    sections `classification` and `masks`, None where no model belongs. Raises InputError, naming models and ids, where
    two models were not tested on the same rows, or have no validation row in common.
    """
    classifiers = {name: table for name, table in tables.items() if reports[name]["kind"] != "masks"}
    segmenters = {name: table for name, table in tables.items() if reports[name]["kind"] != "classification"}
    by_dice = settings.metric == "dice"
    sections = {
        "classification": _classification(
            classifiers, reports, settings, "macro_f1" if by_dice else settings.metric, evaluate, seed
        )
        if classifiers
        else None,
        "masks": _masks(segmenters, reports, settings, evaluate, seed) if segmenters else None,
    }
    chosen = sections["masks" if by_dice else "classification"]
    if chosen is None:
        raise InputError(f"compare: none of {', '.join(tables)} has {settings.metric}; choose another metric")
    return finite(
        {
            "metric": settings.metric,
            "best": chosen["best"],
            "ranking": chosen["ranking"],
            "baseline": chosen["baseline"],
            "split_by": split["by"],
            "leak": {name: rows for name, rows in split["leak"].items() if rows},
            "grouping": split["grouping"],
            "resamples": evaluate.resamples,
            "confidence": evaluate.confidence,
            "seed": seed,
            **sections,
            "populations": populations(reports, [*dict.fromkeys([*chosen["ranking"], *tables])]),
        }
    )


def _classification(
    tables: Tables, reports: Reports, settings: Compare, metric: str, evaluate: Evaluate, seed: int
) -> dict[str, Any]:
    first = next(iter(tables))
    merged: Tables = {}
    order: tuple[str, ...] = ()
    for name, table in tables.items():
        merged[name], classes = merge_classes(name, table, tuple(reports[name]["classes"]), settings.merge)
        order = order or classes
        if set(classes) != set(order):
            raise InputError(
                f"{name} knows {', '.join(classes)}, but {first} {', '.join(order)}; make them alike in compare.merge"
            )

    def read(name: str, table: pd.DataFrame) -> Predictions:
        return (detected if reports[name]["kind"] == "cascade" else classified)(name, table, order)

    tested = {name: table[table["set"] == "test"].sort_values("id") for name, table in merged.items()}
    for name in tested:
        same_rows(first, tested[first], name, tested[name])
    predictions = {name: read(name, table) for name, table in tested.items()}
    estimates = {name: estimate(p, evaluate, seed) for name, p in predictions.items()}
    validated = {name: estimate(read(name, table), evaluate, seed) for name, table in common_validation(merged).items()}
    section = ranked(
        estimates,
        validated,
        lambda a, b: (estimates[a], estimates[b]),
        lambda a, b: _tests(predictions[a], predictions[b]),
        metric,
        _CLASSES,
        order,
        evaluate.confidence,
        settings.margin,
        {},
    )
    new_name = {old: new for new, group in settings.merge.items() for old in group}
    training: Counter[str] = Counter()
    for label, count in reports[first]["training"].items():
        training[new_name.get(label, label)] += count
    return section | {
        "classes": list(order),
        "support": {name: int((predictions[first].truth == c).sum()) for c, name in enumerate(order)},
        "zero_r": zero_r(predictions[first], training),
        "operating_points": _operating_points(reports, section["ranking"]),
        "calibration": trust.calibrations(reports, section["ranking"]),
        "decisions": trust.decided(reports, section["ranking"]),
        "in_sample": [name for name in section["ranking"] if reports[name].get("fitted") == "in sample"],
        "confusion": {name: confusion(predictions[name]) for name in section["ranking"]},
        "curves": curves({name: predictions[name] for name in section["ranking"]}),
    }


def _operating_points(reports: Reports, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What evaluate measured on test rows, of each model that knows two classes."""
    found = {name: reports[name]["sets"]["test"] for name in names if len(reports[name]["classes"]) == 2}
    return {name: test.get("detection", test)["operating_points"] for name, test in found.items()}


def _masks(tables: Tables, reports: Reports, settings: Compare, evaluate: Evaluate, seed: int) -> dict[str, Any]:
    first = next(iter(tables))
    pixels = reports[first]["mask_pixels"]
    for name, table in tables.items():
        check(name, table, tuple(reports[name]["classes"]), counts(tables[first]))
        if (own := reports[name]["mask_pixels"]) != pixels:
            raise InputError(f"{name} was tested on masks of {own} pixels, {first} of {pixels}; prepare both alike")
    confined = {name: reports[name]["only"] for name in tables if reports[name]["only"] is not None}
    tested = {name: table[table["set"] == "test"].sort_values("id") for name, table in tables.items()}
    every = pd.concat(tested.values()).drop_duplicates("id").sort_values("id")
    for name, table in tested.items():
        rows = every[every["label"] == confined[name]] if name in confined else every
        same_rows("the other models", rows, name, table)

    support = {mark[1:]: int((every[f"tp{mark}"] + every[f"fn{mark}"] > 0).sum()) for mark in marks(every) if mark}

    def on(name: str, ids: pd.Series) -> Estimates:
        table = tested[name]
        return estimate_masks(table[table["id"].isin(ids)], evaluate, seed)

    whole = {name: table for name, table in tables.items() if name not in confined}
    shared = (common_validation(whole) if whole else {}) | {
        name: table[table["set"] == "val"] for name, table in tables.items() if name in confined
    }
    return (
        ranked(
            {name: on(name, table["id"]) for name, table in tested.items()},
            {name: estimate_masks(table, evaluate, seed) for name, table in shared.items()},
            lambda a, b: (on(a, tested[b]["id"]), on(b, tested[a]["id"])),
            lambda a, b: {},
            "dice",
            _MASKS,
            tuple(support),
            evaluate.confidence,
            settings.margin,
            confined,
        )
        | {"tversky_alpha": evaluate.tversky_alpha, "mask_pixels": pixels, "support": support}
        | {"volumes": "volume" in tables[first]}
    )


def _tests(a: Predictions, b: Predictions) -> dict[str, Any]:
    """McNemar's test of the rows that are right, DeLong's of each class against the others; both over groups."""
    return {
        "mcnemar": mcnemar(a.predicted == a.truth, b.predicted == b.truth, a.groups),
        "delong": {
            name: delong(a.truth == c, a.probabilities[:, c], b.probabilities[:, c], a.groups)
            for c, name in enumerate(a.classes)
        },
    }
