"""An exploration as people read it: one HTML page that loads nothing from outside."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medpipe.evaluation.wording import number
from medpipe.templates import template

SECTIONS = {  # heading: how the names of its plots begin
    "Classes": ("classes", "balance"),
    "Images": ("images", "masks", "mask_area", "equalised"),
    "Pixels": ("channels",),
    "Columns": ("number_", "by_"),
    "Duplicates": ("duplicates",),
}


def html(task: str, facts: Mapping[str, Any], plots: Path, drawn: Mapping[str, str]) -> str:
    """The page of a task's facts, with the plots that lie in the folder `plots` ({file name: what it shows}) in it."""
    pictures = {
        heading: [
            {"shows": shows, "data": base64.b64encode((plots / file).read_bytes()).decode()}
            for file, shows in drawn.items()
            if file.removesuffix(".png") in names or file.startswith(tuple(n for n in names if n.endswith("_")))
        ]
        for heading, names in SECTIONS.items()
    }
    totals = [sum(sets.values()) for sets in facts["rows"].values()]
    training = {label: sets["train"] for label, sets in facts["rows"].items()}
    return template(Path(__file__).with_name("exploration.html.j2"), {"number": number, "percent": percent}).render(
        task=task, facts=facts, pictures=pictures, sets=list(next(iter(facts["rows"].values()))),
        training=training, most=max(totals) / sum(totals), present=[count for count in training.values() if count],
    )  # fmt: skip


def percent(share: float) -> str:
    """A share in [0, 1] to a tenth of a percent; what is there is never said to be 0."""
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
