"""A comparison as people read it: Markdown, and one HTML page that loads nothing from outside."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from medpipe.evaluation import trust
from medpipe.evaluation.trust import CALIBRATION, DECISIONS

NAMES = {"roc_auc": "ROC-AUC", "iou": "IoU", "hd95": "HD95 (px)", "ece": "ECE", "aurc": "AURC"}
POINT, COUNTS = ("accuracy", "precision", "recall"), ("missed", "false_alarms")
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
    return text if float(text) else text.removeprefix("-")


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
    return f"[{number(interval['low'], digits)}, {number(interval['high'], digits)}]".replace("-", "−")


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


def reading(comparison: dict[str, Any], section: dict[str, Any]) -> list[str]:
    """What must be known to read a section's figures."""
    notes = [
        f"Intervals: {comparison['confidence']:.0%}, studentised by {comparison['resamples']} resamples of whole"
        " groups (lesions or patients), the same for every model.",
        *refused(section),
        "Differences: paired, in those resamples; p two-sided, then corrected by Holm's method for all"
        f" tests of the ranking ({section['tests']}). They are of test rows, which chose nothing.",
        f"No worse: one-sided p of being worse by {section['margin']:g} of {metric_name(section['metric'])} or more;"
        " where it is small in both directions, the two models are equivalent. It is not corrected.",
        f"Ranked, and the best chosen, by {metric_name(section['metric'])} on the validation rows that all models have."
        " Those rows also chose epochs, a cascade's threshold and an ensemble's weights, which flatters them: what to"
        " expect of new cases is the test rows' figure.",
    ]
    if "zero_r" in section:
        label = section["zero_r"]["label"]
        notes.append(
            f"ZeroR says “{label}”, the most frequent class in training, to everything. Balanced accuracy is"
            " macro recall, accuracy weighted recall."
        )
    else:
        height, width = section["mask_pixels"]
        notes.append(
            f"Masks of {height} x {width} pixels, as the models read the slices. Dice, IoU and Tversky (missed pixels"
            f" weigh {section['tversky_alpha']:g}) of a patient's whole volume; HD95 a mean over slices with both"
            " masks, so that a slice which is missed altogether does not count in it; then mean or median over"
            " patients."
        )
        if section["support"]:
            notes.append(
                "A patient's figure is the mean over the classes that masks mark. A class that neither the patient's"
                " masks nor the model's hold counts as 1; n: slices that hold it."
            )
    if "classes" in section and section["pairs"]:
        notes.append(
            "McNemar: p of one model being right on more rows, exact, over groups. DeLong: p of a difference in a"
            " class's ROC-AUC against the others, in Obuchowski's form for groups. Neither is corrected."
        )
    if any(model["only"] for model in section["models"]):
        notes.append(
            "A model without a rank was trained and tested on the rows of one class, which nobody can tell beforehand:"
            " it is never the champion. Its differences are taken on the rows that both have."
        )
    if section.get("in_sample"):
        notes.append(
            f"Heads fitted in sample, as published: {', '.join(section['in_sample'])}. Of the rows that trained them"
            " the members are surer than of others, so such a head trusts them too much; give them `folds` and it"
            " is fitted out of fold."
        )
    if section.get("operating_points"):
        notes.append(
            f"Operating points: “{section['classes'][1]}” is said where the network, of a cascade its classifier, gives"
            " it that threshold or more, before the temperature. The model's own is marked; missed and false alarms are"
            " rows."
        )
    return notes + trust.notes(section)


def refused(section: dict[str, Any]) -> list[str]:
    """Which metrics of the first model have no valid interval, and why."""
    first = section["models"][0]
    metrics: dict[str, list[str]] = {}
    whole = {metric_name(metric): found for metric, found in first["metrics"].items() if metric not in TWICE}
    own = {f"{metric_name(m)} of {c}": found for c, row in first["per_class"].items() for m, found in row.items()}
    for name, found in (whole | own).items():
        if found["value"] is not None and "why" in found:
            metrics.setdefault(found["why"], []).append(name)
    if not metrics:
        return []
    listed = "; ".join(f"{', '.join(names)} ({why})" for why, names in metrics.items())
    return [f"No valid interval, for there it would not cover what it promises: {listed}."]


def markdown(comparison: dict[str, Any]) -> str:
    """Ranking, each class and differences of every pair, as Markdown tables. Needs `task` in `comparison`."""
    lines = [f"# {comparison['task']}: models on the same rows", ""]
    lines += [f"Best by {metric_name(comparison['metric'])} on validation rows: **{best(comparison)}**", ""]
    lines += ["Validation rows rank; all other figures are of test rows.", ""]
    if comparison["leak"]:
        lines += ["> **The split leaks: sets share groups with training. The figures are inflated.**", ""]
    if not comparison["grouped"]:
        lines += ["> **No patient or lesion is known of these images: leaks between the sets cannot be excluded.**", ""]
    for name, section in sections(comparison):
        metric = section["metric"]
        others = other_metrics(section)
        head = [
            "",
            "model",
            f"{metric_name(metric)}, validation",
            "test rows",
            "groups",
            f"{metric_name(metric)}, test",
        ]
        head += ["− best", "p", "− baseline", "p"]
        lines += [f"## {headed(name)}", "", *table([*head, *map(metric_name, others)], _ranking(section, others))]
        if section["models"][0]["per_class"]:
            of_class = metric_name(section["of_class"])
            lines += [f"### {of_class} of each class", "", *_classes(section)]
            lines += [f"### Differences of {of_class}, model by model", "", *_pairs(section)]
        for title, rows in (("Calibration", _calibration(section)), ("Decisions", _decisions(section))):
            lines += [f"### {title}", "", *rows] if rows else []
        if section.get("operating_points"):
            lines += [f"### Operating points of {section['classes'][1]}", "", *_operating_points(section)]
        lines += [*(f"- {note}" for note in reading(comparison, section)), ""]
    return "\n".join(lines)


def _ranking(section: dict[str, Any], others: list[str]) -> list[list[str]]:
    rows = []
    for model in section["models"]:
        found = model["metrics"][section["metric"]]
        cells = [str(model["rank"] or f"({model['only']} only)"), model["model"], bounded(model["validation"])]
        cells += [str(model["rows"]), str(model["groups"]), bounded(found)]
        for against in (model["vs_best"], model["vs_baseline"]):
            if against is None:
                cells += ["", ""]
            else:
                cells += [f"{signed(against['difference'])} {bounds(against)}", number(against["p_holm"])]
        rows.append([*cells, *(bounded(model["metrics"][m]) for m in others)])
    if "zero_r" in section:
        zero = section["zero_r"]
        figures = [number(zero.get(m)) for m in (section["metric"], *others)]
        rows.append(["", f"ZeroR ({zero['label']})", "", "", "", figures[0], "", "", "", "", *figures[1:]])
    return rows


def bounded(interval: dict[str, Any]) -> str:
    """The value and its interval."""
    return f"{number(interval['value'])} {bounds(interval)}"


def stated(interval: dict[str, Any]) -> str:
    """The same in a sentence, with the reason where there is no interval."""
    return bounded(interval) + (f" ({interval['why']})" if "why" in interval else "")


def _classes(section: dict[str, Any]) -> list[str]:
    models = section["models"]
    rows = []
    for name, support in section["support"].items():
        rows.append([name, str(support), *(bounded(model["per_class"][name][section["of_class"]]) for model in models)])
    return table(["class", "n", *(model["model"] for model in models)], rows)


def _pairs(section: dict[str, Any]) -> list[str]:
    rows = []
    for pair in section["pairs"]:
        found = pair["metrics"][section["metric"]]
        differences = [found, *(values[section["of_class"]] for values in pair["per_class"].values())]
        cells = [f"{signed(d['difference'])} {bounds(d)}" for d in differences]
        tests = [number(p) for p in (found["p"], *pair["no_worse"].values())]
        tests += [number(pair["mcnemar"]["p"])] if "mcnemar" in pair else []
        rows.append([f"{pair['a']} − {pair['b']}", cells[0], *tests, *cells[1:]])
    head = ["models", metric_name(section["metric"]), "p (raw)", "first no worse", "second no worse"]
    head += ["McNemar"] if "classes" in section else []
    return table([*head, *section["support"]], rows)


def _operating_points(section: dict[str, Any]) -> list[str]:
    rows = [
        [name, threshold(point), *(bounded(point[m]) for m in POINT), *(number(point[m]["value"], 0) for m in COUNTS)]
        for name, points in section["operating_points"].items()
        for point in points
    ]
    return table(["model", "threshold", *map(metric_name, (*POINT, *COUNTS))], rows)


def _calibration(section: dict[str, Any]) -> list[str]:
    found = section.get("calibration") or {}
    rows = [[name, number(of["temperature"], 2), *(bounded(of[m]) for m in CALIBRATION)] for name, of in found.items()]
    return table(["model", "temperature", *map(metric_name, CALIBRATION)], rows) if rows else []


def _decisions(section: dict[str, Any]) -> list[str]:
    found = section.get("decisions") or {}
    rows = [
        [name, f"{of['of']} from {of['threshold']:.3g} on", *(bounded(of[m]) for m in DECISIONS)]
        for name, of in found.items()
    ]
    return table(["model", "says", *map(metric_name, DECISIONS)], rows) if rows else []


def threshold(point: dict[str, Any]) -> str:
    return f"{point['threshold']:.3g}" + (" (its own)" if point["chosen"] else "")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table, and an empty one."""
    cells = [[cell.replace("|", "\\|").strip() for cell in row] for row in (head, ["---"] * len(head), *rows)]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]


def template(path: Path, filters: Mapping[str, Callable[..., str]]) -> Template:
    """The page's template, in which whatever is undefined is an error."""
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(path.name)


def html(comparison: dict[str, Any]) -> str:
    """The page, self-contained. Needs `task` in `comparison`."""
    filters: dict[str, Callable[..., str]] = {
        "number": number,
        "signed": signed,
        "bounds": bounds,
        "metric_name": metric_name,
    }
    return template(Path(__file__).with_name("comparison.html.j2"), filters).render(
        comparison=comparison,
        best=best(comparison),
        sections=sections(comparison),
        headed=headed,
        reading=reading,
        forest=forest,
        trust=trust,
        other_metrics=other_metrics,
    )


def forest(section: dict[str, Any]) -> dict[str, Any]:
    """Where the marks of an interval plot stand, in units of its drawing: 190 for names, 880 for the axis."""
    metric = section["metric"]
    intervals = [model["metrics"][metric] for model in section["models"]]
    ends = [found[end] for found in intervals for end in ("value", "low", "high") if found[end] is not None]
    zero = section["zero_r"][metric] if "zero_r" in section else None
    ends += [] if zero is None else [zero]
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if (max(ends) - min(ends)) / s <= 6 or s == 0.2)
    low, high = math.floor(min(ends) / step), math.ceil(max(ends) / step)
    high = max(high, low + 1)

    def x(value: float) -> float:
        return round(190 + 880 * (value / step - low) / (high - low), 1)

    return {
        "ticks": [{"x": x(i * step), "label": f"{i * step:.2f}"} for i in range(low, high + 1)],
        "rows": [
            {
                "y": 30 + 26 * i,
                "name": model["model"],
                "whole": not model["only"],
                "x": x(found["value"]),
                "low": None if found["low"] is None else x(found["low"]),
                "high": None if found["high"] is None else x(found["high"]),
            }
            for i, (model, found) in enumerate(zip(section["models"], intervals, strict=True))
        ],
        "zero_r": None if zero is None else x(zero),
        "height": 30 + 26 * len(intervals),
    }
