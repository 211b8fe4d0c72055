"""The probes of a task's model as its page shows them: one table, in words what it says, and what it does not."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from medpipe.evaluation.wording import bounded, bounds, metric_name, number, p_value, signed
from medpipe.probes.report import METRICS


class Shown(NamedTuple):
    alarm: bool
    lead: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def shown(found: Mapping[str, Any]) -> Shown:
    """Of the report probes.json."""
    model, region = found["model"], found["region"]
    head = ["trained on", *map(metric_name, METRICS), f"{metric_name(METRICS[0])} − {model}", "p (Holm)", "alarm"]
    rows = [_row(f"whole images ({model})", found["headline"])]
    for name, what in (("blanked", "the region of interest blanked"), ("border", "the border alone")):
        rows.append(_row(what, found["probes"][name]))
    rows += [_row(f"metadata alone ({name})", beside) for name, beside in found["metadata"].items()]
    zero = found["zero_r"]
    rows.append([f"nothing (ZeroR: {zero['label']})", *(number(zero[metric]) for metric in METRICS), "", "", ""])
    if source := found["probes"].get("source"):
        row = _row("", source)
        rows.append([f"its embedding, to tell the source (chance {number(source['chance'])})", *row[1:]])
    box = "what any training mask marks" if region["box"] is None else f"the middle {region['box']:.0%} of each side"
    notes = [
        f"Test rows: {found['rows']} of {found['groups']} groups. The region of interest is {box},"
        f" {region['share']:.0%} of the pixels; the border is {region['border']:.0%} of a side wide. What is blanked"
        " has one colour, the same place and the same size in all images.",
        "Alarm: p, one-sided, of a ROC-AUC above 0.5, or for the source of a balanced accuracy above chance, is below"
        f" {1 - found['confidence']:.2g} after Holm's correction for all probes of the table. Without a region that it"
        " should look at, a model may still tell classes by what is rightly there (the outline of a child's chest) or"
        " by a mark, a grey scale, a frame: the figure does not say which.",
    ]
    if source:
        classes = "; ".join(
            f"{label} {number(one['balanced_accuracy'])} of {len(one['sources'])} sources, {one['rows']} rows"
            for label, one in source["classes"].items()
        )
        notes.append(f"Sources are told apart within a class; one told by its class alone is no shortcut: {classes}.")
    else:
        notes.append("No class has two known sources, so that none could be told apart within a class.")
    verdict = "An alarm is raised" if found["alarm"] else "No alarm is raised"
    return Shown(found["alarm"], f"{verdict}: {found['why']}.", head, rows, notes)


def _row(name: str, found: Mapping[str, Any]) -> list[str]:
    cells = [bounded(found["metrics"][metric]) if metric in found["metrics"] else "" for metric in METRICS]
    difference = found.get("difference", {}).get(METRICS[0])
    cells.append("" if difference is None else f"{signed(difference['difference'])} {bounds(difference)}")
    tested = "alarm" in found
    cells += [p_value(found["p_holm"]) if tested else "", ("yes" if found["alarm"] else "no") if tested else ""]
    return [name, *cells]
