"""A comparison as one HTML page that loads nothing from outside: on a screen, a phone and paper."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from medpipe.evaluation import drawing, page_tables, populations
from medpipe.evaluation.reading import reading
from medpipe.evaluation.summary import summary
from medpipe.evaluation.wording import headed, metric_name, number, sections
from medpipe.generation.page import shown as generated
from medpipe.probes.page import shown
from medpipe.templates import template

MANY = 6  # columns, from which on a narrow screen shows each row of a table as a list
STYLE, FIGURES = "comparison.css.j2", "figures.html.j2"  # included by the template

_INTERVAL = re.compile(r"(\[[^\]]*\]|no valid interval)$")


def html(
    comparison: dict[str, Any], errors: Iterable[Mapping[str, Any]], generators: Iterable[Mapping[str, Any]] = ()
) -> str:
    """The page. Needs `task` in `comparison`; `errors`: of the best model, by medpipe.evaluation.mistakes;
    `generators`: of the task, by medpipe.generation.gallery.record.
    """
    filters: dict[str, Callable[..., str]] = {"number": number, "metric_name": metric_name, "cell": cell, "tone": tone}
    found = comparison["populations"]
    return template(Path(__file__).with_name("comparison.html.j2"), filters).render(
        comparison=comparison,
        answers=summary(comparison),
        sections=sections(comparison),
        headed=headed,
        reading=reading,
        drawing=drawing,
        tables=page_tables,
        for_whom=list(page_tables.for_whom(found)),
        for_whom_reading=populations.reading(found),
        probes=shown(comparison["probes"]) if comparison["probes"] else None,
        errors=list(errors),
        generators=[generated(found) for found in generators],
        many=MANY,
        style=STYLE,
        figures=FIGURES,
    )


def cell(text: str) -> Markup:
    """A table's cell, the interval at its end small."""
    start = _INTERVAL.search(text)
    if start is None:
        return escape(text)
    return escape(text[: start.start()]) + Markup("<small>{}</small>").format(start[0])


def tone(text: str, head: str) -> str:
    """The class of a cell that holds a difference, by the head of its column."""
    return {"+": "up", "−": "down"}.get(text[:1], "") if "−" in head or "difference" in head else ""
