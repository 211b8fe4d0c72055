"""What the probes of a task found, beside the model that they probe."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from medpipe.evaluation.intervals import Estimates, estimate, paired_difference
from medpipe.evaluation.metrics import zero_r
from medpipe.evaluation.predictions import classified, same_rows
from medpipe.evaluation.report import finite
from medpipe.params import Evaluate
from medpipe.probes.alarm import above, null_area, raised
from medpipe.probes.source import TOLD, Source

METRICS = ("macro_f1", "balanced_accuracy", "roc_auc")
TESTED, CHANCE = "roc_auc", 0.5  # of the probes that see images
WHAT = {
    "blanked": "the classes, without the region of interest",
    "border": "the classes, by the border alone",
    "source": "the source within a class, by the embedding",
}


def report(
    model: str,
    headline: pd.DataFrame,
    probed: Mapping[str, pd.DataFrame],
    metadata: Mapping[str, pd.DataFrame],
    source: Source | None,
    classes: tuple[str, ...],
    training: Mapping[str, int],
    settings: Evaluate,
    seed: int,
) -> dict[str, Any]:
    """The report of a task's probes; `alarm` says whether any is raised, `why` which, with its figures, or all.

    - headline: the prediction table of `model`; probed: those of `blanked` and `border`; metadata: of models of tables
      alone, by name. All of the same test rows
    - training: training rows a class, for ZeroR

    Raises InputError, naming the model and the ids, where the rows are not the same.
    """
    headline = headline.sort_values("id", ignore_index=True)
    p = classified(model, headline, classes)
    whole = estimate(p, settings, seed)
    tests: dict[str, float | None] = {}
    held = min(len(set(p.groups[p.truth == c])) for c in np.unique(p.truth))  # groups of the scarcest class
    null = null_area(held, max(1, len(whole.groups) - held))

    def beside(name: str, table: pd.DataFrame) -> dict[str, Any]:
        table = table.sort_values("id", ignore_index=True)
        same_rows(model, headline, name, table)
        found = estimate(classified(name, table, classes), settings, seed)
        if name in probed:
            tests[name] = above(found.values[TESTED], found.draws[TESTED], CHANCE, null)
        differences = {metric: paired_difference(found, whole, metric, settings.confidence) for metric in METRICS}
        return {"metrics": _metrics(found, settings), "difference": differences}

    probes = {name: beside(name, table) | {"chance": CHANCE} for name, table in probed.items()}
    if source is not None:
        told = source.estimates.interval(TOLD, settings.confidence)
        probes["source"] = {"metrics": {TOLD: told}, "chance": source.chance, "classes": source.classes}
        null = math.sqrt(source.chance * (1 - source.chance) / len(source.estimates.groups))
        tests["source"] = above(source.estimates.values[TOLD], source.estimates.draws[TOLD], source.chance, null)
    for name, (corrected, alarm) in raised(tests, settings.confidence).items():
        probes[name] |= {"p": tests[name], "p_holm": corrected, "alarm": alarm}
    found = {
        "model": model,
        "rows": whole.rows,
        "groups": len(whole.groups),
        "classes": list(classes),
        "confidence": settings.confidence,
        "headline": {"metrics": _metrics(whole, settings)},
        "probes": probes,
        "metadata": {name: beside(name, table) for name, table in metadata.items()},
        "zero_r": zero_r(p, training) | {TESTED: CHANCE},
        "alarm": any(probe["alarm"] for probe in probes.values()),
    }
    raising = {name: probe for name, probe in probes.items() if probe["alarm"]}
    said = "; ".join(_said(name, probe) for name, probe in (raising or probes).items())
    return finite(found | {"why": said if raising else f"no probe tells more than chance: {said}"})


def headline(found: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a report: the alarm as 0 or 1, and of each probe the figure that it tests, its interval and p."""
    values: dict[str, Any] = {"alarm": int(found["alarm"])}
    for name, probe in found["probes"].items():
        values |= {f"{name}_{end}": value for end, value in _tested(name, probe).items()}
        values[f"{name}_p_holm"] = probe["p_holm"]
    return values


def _metrics(found: Estimates, settings: Evaluate) -> dict[str, Any]:
    return {metric: found.interval(metric, settings.confidence) for metric in METRICS}


def _tested(name: str, probe: Mapping[str, Any]) -> dict[str, float | None]:
    return probe["metrics"][TOLD if name == "source" else TESTED]


def _said(name: str, probe: Mapping[str, Any]) -> str:
    tested, found = TOLD if name == "source" else TESTED, _tested(name, probe)
    bounds = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
    said = f"{tested} {found['value']:.3f}{bounds}, chance {probe['chance']:.3f}"
    p = "not tested" if probe["p_holm"] is None else f"p {probe['p_holm']:.3g} after Holm"
    return f"{WHAT[name]}: {said}, {p}"
