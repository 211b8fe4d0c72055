"""The model card of a version (Mitchell 2019, doi 10.1145/3287560.3287596), in Markdown, from its run's files."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medpipe.evaluation.wording import bounded, metric_name, number
from medpipe.registry import gate
from medpipe.registry.evidence import Evidence

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "dice", "dice_median", "iou", "hd95")


def card(evidence: Evidence, decision: dict[str, Any]) -> str:
    """The card. It holds no time and no place: the same run gives the same card. `decision`: of champion.json."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["bounded"] = bounded
    delivered, sets = evidence.delivered, evidence.report["sets"]
    parts = [part for part in ("test", "external", "val") if part in sets]
    measured = [metric for metric in METRICS if any(metric in _overall(sets[part]) for part in parts)]
    classes = ", ".join(delivered.classes)
    return environment.get_template("card.md.j2").render(
        e=evidence,
        decision=decision,
        kind=kind(evidence),
        reads=reads(evidence),
        says=f"how probable each class is: {classes}"
        if delivered.kind == "classifier"
        else "where it sees a marked region",
        parts=parts,
        figures=[
            (_named(metric, evidence.report), [_cell(_overall(sets[part]), metric) for part in parts])
            for metric in measured
        ],
        subgroups=subgroups(evidence),
        probed=gate.probed(evidence.report, evidence.probes),
        refused=gate.refusal(decision["conditions"]),
        disjoint=disjoint(evidence),
    )


def _named(metric: str, report: dict[str, Any]) -> str:
    unit = {"hd95": " (mm)" if report.get("volumes") else " (px)"}.get(metric, "")
    return metric_name(metric) + unit


def kind(evidence: Evidence) -> str:
    """What the model is, in words."""
    networks = len(evidence.parts)
    what = {"classifier": "classifier", "segmenter": "segmenter", "cascade": "classifier before a segmenter"}
    made = evidence.delivered.settings.get("kind")
    return f"{what[evidence.delivered.kind]}, deep learning" + (f", {made} of {networks} networks" if made else "")


def reads(evidence: Evidence) -> str:
    """What a case has to have."""
    variants = evidence.delivered.variants
    images = [f"an image ({variant['sizes'][-1]} px)" for variant in variants if variant["kind"] == "images"]
    named = [name for variant in variants if variant["kind"] == "table" for name in variant["features"]]
    return ", ".join(dict.fromkeys([*images, *named]))


def subgroups(evidence: Evidence) -> list[str]:
    """Of each column the value that the model serves worst, of those with enough groups."""
    lines, found = [], gate.subgroups(evidence.report)
    metric = "dice" if evidence.comparison["metric"] == "dice" else "shared_recall"
    for column in dict.fromkeys(name for name, _ in found):
        judged = {
            value: subgroup
            for (name, value), subgroup in found.items()
            if name == column and not subgroup["small"] and subgroup["overall"].get(metric, {}).get("value") is not None
        }
        if judged:
            worst = min(judged, key=lambda value: judged[value]["overall"][metric]["value"])
            least = evidence.report["small_groups"]
            figure = f"{metric_name(metric)} is lowest for {worst}, {bounded(judged[worst]['overall'][metric])}"
            lines.append(f"{column}: {figure}, of {len(judged)} with {least} groups and more")
        else:
            lines.append(f"{column}: no value has enough groups to be judged")
    return lines


def disjoint(evidence: Evidence) -> str:
    """The level at which training rows and others are apart, and what was found of both sides all the same."""
    levels = {
        "group": "lesion or patient where one is known, and near duplicates",
        "image": "the single image",
        "given": "that of the archive's own sets",
    }
    leak = f"a leak: {evidence.leak} share a lesion, a patient or a near duplicate with training"
    found = [leak if evidence.leak else "", evidence.split["grouping"]]
    return "; ".join([levels[evidence.split["by"]], *(filter(None, found) if any(found) else ["no leak was found"])])


def _overall(measured: dict[str, Any]) -> dict[str, Any]:
    return measured.get("detection", {}).get("overall", {}) | measured["overall"]


def _cell(overall: dict[str, Any], metric: str) -> str:
    return bounded(overall[metric]) if metric in overall else number(None)
