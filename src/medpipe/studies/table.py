"""A study's rows beside each other: on the same test rows, in the same resamples, against one baseline and, where the
study names one, against a row's own control.

A row with several seeds is their mean, taken in each resample, so that its interval is that of the mean. The interval
says what other test lesions or patients would have changed, the standard deviation what other seeds.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from medpipe.evaluation.intervals import Estimates, estimate, holm, paired_difference
from medpipe.evaluation.predictions import check, classified, counts, merge_classes
from medpipe.evaluation.report import finite
from medpipe.evaluation.segmentation import estimate_masks
from medpipe.params import Params, Study
from medpipe.studies.results import Result

SHOWN = {"classification": ("accuracy", "balanced_accuracy", "macro_f1"), "masks": ("dice", "dice_median", "iou")}


def summarise(
    name: str,
    study: Study,
    params: Params,
    results: Mapping[str, Mapping[int, Result]],
    unfinished: Mapping[str, Mapping[int, str]],
) -> dict[str, Any]:
    """The study's table. `results`: of each row, by seed, those that are there; `unfinished`: why the others are not.

    Rows are ranked by `study.metric`, higher is better; those without a result stand last, without a rank.
    """
    merge, evaluate = params.compare[study.task].merge, params.evaluate
    order: tuple[str, ...] = ()

    def measure(row: str, result: Result) -> Estimates:
        nonlocal order
        test = result.table[result.table["set"] == "test"].sort_values("id")
        if result.report["kind"] == "masks":
            check(row, test, tuple(result.report["classes"]), counts(test))
            return estimate_masks(test, evaluate, evaluate.seed)
        merged, classes = merge_classes(row, test, tuple(result.report["classes"]), merge)
        order = order or classes
        return estimate(classified(row, merged, order), evaluate, evaluate.seed)

    seeds = {row: [measure(row, result) for result in found.values()] for row, found in results.items() if found}
    means = {row: mean(estimates) for row, estimates in seeds.items()}
    ranking = sorted(means, key=lambda row: -means[row].values[study.metric])
    differences = _against(study, means, evaluate.confidence)
    shown = SHOWN["masks" if study.metric == "dice" else "classification"]
    rows = []
    for row in (*ranking, *(row for row in study.rows if row not in means)):
        entry: dict[str, Any] = {
            "row": row,
            "model": study.rows[row].model,
            "set": study.rows[row].set,
            "published": [
                {"metric": metric, "published": value, "ours": _ours(metric, results[row].values())}
                for metric, value in study.rows[row].published.items()
            ],
            "rank": ranking.index(row) + 1 if row in means else None,
            "seeds": list(results[row]),
            "unfinished": {str(seed): why for seed, why in unfinished[row].items()},
        }
        if row in means:
            entry |= _figures(means[row], seeds[row], shown, evaluate.confidence)
            entry |= _origin(list(results[row].values()), study.metric, len(order))
            entry["vs_baseline"] = differences.get((row, study.baseline))
            entry["control"] = study.controls.get(row)
            entry["vs_control"] = differences.get((row, study.controls.get(row, "")))
        rows.append(entry)
    return finite(
        {
            "study": name,
            "task": study.task,
            "metric": study.metric,
            "scale": study.scale,
            "baseline": study.baseline,
            "split_by": params.split[study.task].by,
            "resamples": evaluate.resamples,
            "confidence": evaluate.confidence,
            "tests": len(differences),
            "classes": list(order),
            "data": _data(result for found in results.values() for result in found.values()),
            "rows": rows,
        }
    )


def mean(estimates: Sequence[Estimates]) -> Estimates:
    """The mean of several trainings, as a value and in each resample of the same test rows."""
    first = estimates[0]
    return Estimates(
        first.rows,
        first.groups,
        {metric: float(np.mean([e.values[metric] for e in estimates])) for metric in first.values},
        {metric: np.mean([e.draws[metric] for e in estimates], axis=0) for metric in first.draws},
        first.scarcest,
    )


def _against(
    study: Study, means: Mapping[str, Estimates], confidence: float
) -> dict[tuple[str, str], dict[str, float | None]]:
    """By (row, other): row - other in the study's metric, the other being the baseline or the row's control; p as it is
    and corrected for all that were tested.
    """
    pairs = {(row, study.baseline) for row in means} | set(study.controls.items())
    found = {
        (row, other): paired_difference(means[row], means[other], study.metric, confidence)
        for row, other in sorted(pairs)
        if row != other and row in means and other in means
    }
    corrected = holm({pair: difference["p"] for pair, difference in found.items()})
    return {pair: difference | {"p_holm": corrected[pair]} for pair, difference in found.items()}


def _figures(
    row: Estimates, seeds: Sequence[Estimates], shown: Sequence[str], confidence: float
) -> dict[str, dict[str, dict[str, float | None]]]:
    """{value, low, high, sd} of each metric; sd is the sample's over seeds, None of one."""
    return {
        "metrics": {
            metric: row.interval(metric, confidence)
            | {"sd": statistics.stdev(e.values[metric] for e in seeds) if len(seeds) > 1 else None}
            for metric in shown
        }
    }


def _origin(results: Sequence[Result], metric: str, classes: int) -> dict[str, Any]:
    """Commits, seconds of training a seed, and the metric over the model's own classes where it knows more of them."""
    own = [result.report["sets"]["test"]["overall"][metric]["value"] for result in results]
    known = len(results[0].report["classes"])
    return {
        "commits": [result.rev for result in results],
        "seconds": statistics.fmean((r.record["ended"] - r.record["started"]) / 1000 for r in results),
        "own_classes": {"classes": known, "value": statistics.fmean(own)} if 0 < classes < known else None,
    }


def _ours(metric: str, results: Collection[Result]) -> float | None:
    """The mean over seeds of what was published as `metric`, over the model's own classes; None where nothing is."""
    part, _, rest = metric.partition("_")
    part, name = {"train": ("train", rest), "validation": ("val", rest), "test": ("test", rest)}.get(
        part, ("test", metric)
    )
    name, _, of = name.partition(":")
    name, _, threshold = name.partition("@")
    found = []
    for result in results:
        measured = result.report["sets"].get(part, {})
        place = measured.get("per_class", {}).get(of, {}) if of else measured.get("overall", {})
        if threshold:
            points = measured.get("operating_points", ())
            place = next((point for point in points if point["threshold"] == float(threshold)), {})
        found.append(place.get(name, {}).get("value"))
    return statistics.fmean(found) if found and None not in found else None


def _data(results: Any) -> dict[str, Any]:
    """What the rows were trained and tested on: hashes of split and arrays, test rows and groups."""
    found: dict[str, set[str]] = {}
    sizes = set()
    for result in results:
        test = result.report["sets"]["test"]
        sizes.add((test["rows"], test["groups"]))
        for tag, value in result.record["tags"].items():
            if tag == "medpipe.split" or tag.startswith("medpipe.data."):
                found.setdefault(tag.removeprefix("medpipe."), set()).add(value)
    return {
        "hashes": {tag: sorted(values) for tag, values in sorted(found.items())},
        "test": [{"rows": rows, "groups": groups} for rows, groups in sorted(sizes)],
    }
