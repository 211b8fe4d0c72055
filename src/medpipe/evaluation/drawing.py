"""Where the marks of the comparison's drawings stand."""

import math
from typing import Any

SIDE = 240  # of a square panel, in units of its SVG
DASHES = ("", "7 3", "2 2", "8 3 2 3")
COLOURS = 7  # of the style sheet: with DASHES 28 models can be told apart


def forest(section: dict[str, Any]) -> dict[str, Any]:
    """An interval plot of the metric that ranks: `ticks`, `rows` and `zero_r` at places in % of its axis."""
    metric = section["metric"]
    intervals = [model["metrics"][metric] for model in section["models"]]
    ends = [found[end] for found in intervals for end in ("value", "low", "high") if found[end] is not None]
    zero = section["zero_r"][metric] if "zero_r" in section else None
    ends += [] if zero is None else [zero]
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if (max(ends) - min(ends)) / s <= 6 or s == 0.2)
    low, high = math.floor(min(ends) / step), math.ceil(max(ends) / step)
    high = max(high, low + 1)

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value / step - low) / (high - low), 2)

    return {
        "ticks": [{"x": place(i * step), "label": f"{i * step:.2f}"} for i in range(low, high + 1)],
        "rows": [
            {"name": model["model"], "whole": not model["only"]}
            | {end: place(found[end]) for end in ("value", "low", "high")}
            for model, found in zip(section["models"], intervals, strict=True)
        ],
        "zero_r": place(zero),
    }


def panels(section: dict[str, Any]) -> list[dict[str, Any]]:
    """ROC, precision and recall, reliability: of each its axes and the points of every model's line, as SVG has them.

    Models stand in the order of the ranking, which is also that of `keys`; one without such a curve has no line.
    """
    curves = section["curves"]
    across, found = curves["at"], curves["models"]

    def line(xs: list[float], ys: list[float] | None) -> str:
        return " ".join(f"{SIDE * x:.1f},{SIDE * (1 - y):.1f}" for x, y in zip(xs, ys or [], strict=bool(ys)))

    whose = "macro-average" if curves["of"] == "macro" else curves["of"]
    likeliest = "the likeliest class" if curves["of"] == "macro" else curves["of"]
    return [
        {
            "title": "ROC", "about": whose, "x": "false positive rate", "y": "true positive rate", "diagonal": True,
            "lines": [line([0, *across], m["roc"] and [0, *m["roc"]]) for m in found.values()],
        },
        {
            "title": "Precision and recall", "about": whose, "x": "recall", "y": "precision", "diagonal": False,
            "lines": [line(across, m["precision_recall"]) for m in found.values()],
        },
        {
            "title": "Reliability", "about": likeliest, "x": "probability", "y": "true share", "diagonal": True,
            "lines": [line(*[[b[i] for b in m["reliability"]] for i in (0, 1)]) for m in found.values()],
        },
    ]  # fmt: skip


def keys(section: dict[str, Any]) -> list[dict[str, Any]]:
    """The legend of `panels`: {name, colour, dash, figures}."""
    found = []
    for i, name in enumerate(section["curves"]["models"]):
        metrics = next(model["metrics"] for model in section["models"] if model["model"] == name)
        figures = {"AUC": metrics["roc_auc"], "AP": metrics["average_precision"]}
        if calibrated := section["calibration"].get(name):
            figures["ECE"] = calibrated["ece"]
        found.append({"name": name, "colour": i % COLOURS, "dash": DASHES[i % len(DASHES)], "figures": figures})
    return found
