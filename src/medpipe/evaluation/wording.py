"""Figures, intervals and metrics in words, as all pages write them."""

from typing import Any

NAMES = {
    "roc_auc": "ROC-AUC",
    "iou": "IoU",
    "hd95": "HD95",
    "ece": "ECE",
    "rms_calibration_error": "RMS calibration error",
    "classwise_rms_calibration_error": "Classwise RMS calibration error",
    "shared_recall": "Mean recall of shared classes",
    "aurc": "AURC",
}
TWICE = ("macro_recall", "weighted_recall")  # balanced accuracy and accuracy by another name


def metric_name(metric: str) -> str:
    if metric.endswith("_median"):
        return f"{metric_name(metric.removesuffix('_median'))}, median"
    if metric.endswith("_before"):
        return f"{metric_name(metric.removesuffix('_before'))}, before"
    words = NAMES.get(metric, metric.replace("_", " ").replace("f1", "F1"))
    return words[0].upper() + words[1:]


def number(value: float | None, digits: int = 3) -> str:
    """Without the sign of what rounds to 0."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def signed(value: float | None, digits: int = 3) -> str:
    """With its sign; a difference that rounds to 0 has none."""
    if value is None:
        return "–"
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def bounds(interval: dict[str, Any], digits: int = 3) -> str:
    """The interval in brackets; of a figure that has none, that it has none, and of no figure nothing."""
    if interval["low"] is None:
        return "no valid interval" if interval.get("value", interval.get("difference")) is not None else ""
    return f"[{number(interval['low'], digits)}, {number(interval['high'], digits)}]"


def bounded(interval: dict[str, Any]) -> str:
    """The value and its interval."""
    return f"{number(interval['value'])} {bounds(interval)}"


def stated(interval: dict[str, Any]) -> str:
    """The same in a sentence, with the reason where there is no interval."""
    return bounded(interval) + (f" ({interval['why']})" if "why" in interval else "")


def best(comparison: dict[str, Any]) -> str:
    return comparison["best"] or "none, for every model knows one class alone"


def headed(section: str) -> str:
    return {"classification": "Classes", "masks": "Masks"}[section]


def sections(comparison: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Those that are there, the one that picks the best first."""
    found = [(name, comparison[name]) for name in ("classification", "masks") if comparison[name]]
    return sorted(found, key=lambda item: item[1]["metric"] != comparison["metric"])


def other_metrics(section: dict[str, Any]) -> list[str]:
    """The columns behind the metric that ranks."""
    return [m for m in section["models"][0]["metrics"] if m not in (section["metric"], *TWICE)]


def threshold(point: dict[str, Any]) -> str:
    said = "never" if point["threshold"] > 1 else f"{point['threshold']:.3g}"
    return said + (" (its own)" if point["chosen"] else "")


def from_on(threshold: float) -> str:
    """When a class is said: a threshold above 1 is never reached."""
    return "never" if threshold > 1 else f"from {threshold:.3g} on"


def p_value(p: float | None) -> str:
    """No p is 0: below a thousandth it is said so."""
    return "< 0.001" if p is not None and p < 0.0005 else number(p)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table, and an empty one."""
    cells = [[cell.replace("|", "\\|").strip() for cell in row] for row in (head, ["---"] * len(head), *rows)]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]
