"""Models in the order of a metric on validation rows, with the differences of each pair on test rows."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

from medpipe.evaluation.intervals import Estimates, holm, no_worse, paired_difference
from medpipe.evaluation.metrics import key


def ranked(
    estimates: dict[str, Estimates],
    validated: dict[str, Estimates],
    pair: Callable[[str, str], tuple[Estimates, Estimates]],
    tests: Callable[[str, str], dict[str, Any]],
    metric: str,
    measured: tuple[tuple[str, ...], ...],
    classes: tuple[str, ...],
    confidence: float,
    margin: float,
    confined: dict[str, str],
) -> dict[str, Any]:
    """Models ranked by `metric` (higher is better) in `validated`, those in `confined` last; each pair's differences.

    `estimates`, and those of two models on the rows that both have (`pair`), are of test rows. `measured`: metrics of
    all rows, of each class, and of each class of a pair. `no_worse` is the p of a model being worse than the other by
    `margin` or more.
    """
    metrics, of_class, compared = measured
    names = list(estimates)
    ranking = sorted(names, key=lambda name: (name in confined, -validated[name].values[metric]))
    best, baseline = None if ranking[0] in confined else ranking[0], names[0]
    pairs = {}
    for a, b in combinations(ranking, 2):
        both = pair(a, b)
        shown = {"a": no_worse(*both, metric, margin), "b": no_worse(*both[::-1], metric, margin)}
        pairs[a, b] = _pair(*both, metrics, classes, compared, confidence) | {"no_worse": shown} | tests(a, b)
    tested = {(a, b): found["metrics"][metric]["p"] for (a, b), found in pairs.items() if {a, b} & {best, baseline}}
    corrected = holm(tested)

    def against(name: str, other: str | None) -> dict[str, Any] | None:
        """name - other in `metric`, with the p value as it is and corrected for all that the table tests."""
        if other is None or name == other:
            return None
        turn = (name, other) not in pairs
        these = (other, name) if turn else (name, other)
        found = pairs[these]["metrics"][metric]
        if turn:
            ends = {"difference": "difference", "low": "high", "high": "low"}
            found = found | {end: None if found[source] is None else -found[source] for end, source in ends.items()}
        return {key: value for key, value in found.items() if key not in ("a", "b")} | {
            "p_holm": corrected[these],
            "no_worse": pairs[these]["no_worse"]["ab"[turn]],
        }

    return {
        "metric": metric,
        "ranking": ranking,
        "best": best,
        "baseline": baseline,
        "tests": len(tested),
        "margin": margin,
        "of_class": compared[-1],
        "models": [
            {
                "model": name,
                "rank": None if name in confined else rank,
                "only": confined.get(name),
                "rows": estimates[name].rows,
                "groups": len(estimates[name].groups),
                "validation": {"rows": validated[name].rows, "groups": len(validated[name].groups)}
                | validated[name].interval(metric, confidence),
                "metrics": {m: estimates[name].interval(m, confidence) for m in metrics},
                "per_class": {
                    c: {m: estimates[name].interval(key(m, c), confidence) for m in of_class} for c in classes
                },
                "vs_best": against(name, best),
                "vs_baseline": against(name, baseline),
            }
            for rank, name in enumerate(ranking, start=1)
        ],
        "pairs": [{"a": a, "b": b, **found} for (a, b), found in pairs.items()],
    }


def _pair(
    a: Estimates,
    b: Estimates,
    metrics: tuple[str, ...],
    classes: tuple[str, ...],
    compared: tuple[str, ...],
    confidence: float,
) -> dict[str, Any]:
    def difference(metric: str) -> dict[str, Any]:
        values = {"a": a.values[metric], "b": b.values[metric]}
        return values | paired_difference(a, b, metric, confidence)

    return {
        "rows": a.rows,
        "groups": len(a.groups),
        "metrics": {metric: difference(metric) for metric in metrics},
        "per_class": {c: {metric: difference(key(metric, c)) for metric in compared} for c in classes},
    }
