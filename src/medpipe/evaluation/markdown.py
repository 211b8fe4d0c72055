"""A comparison as Markdown: its answers, and the tables that a terminal can hold."""

from collections.abc import Iterable
from typing import Any

from medpipe.evaluation import page_tables, populations
from medpipe.evaluation.page_tables import Table
from medpipe.evaluation.reading import reading
from medpipe.evaluation.summary import summary
from medpipe.evaluation.wording import headed, sections, table
from medpipe.probes.page import shown


def markdown(comparison: dict[str, Any]) -> str:
    """The comparison. Needs `task` in it."""
    lines = [f"# {comparison['task']}: models on the same rows", ""]
    if comparison["reduced"]:
        lines += [f"**Not as the recipes say**, {comparison['reduced']}.", ""]
    for question, short, sentences in summary(comparison):
        lines.append(" ".join(filter(None, (f"- **{question}**", f"**{short}**." if short else "", *sentences))))
    lines += ["", "Validation rows rank; all other figures are of test rows.", ""]
    for name, section in sections(comparison):
        lines.append(f"## {headed(name)}\n")
        tables = [*page_tables.ranking(section)]
        if section["pairs"]:
            tables += [table for table in page_tables.tests(section) if table.rows]
        if section["support"]:
            tables.append(page_tables.by_class(section))
        tables += page_tables.published(section, comparison["published"])
        lines += [*_shown([*tables, *page_tables.trusted(section)]), *_notes(reading(comparison, section))]
    found = comparison["populations"]
    if tables := list(page_tables.for_whom(found)):
        lines += ["## For whom", "", *_shown(tables), *_notes(populations.reading(found))]
    if comparison["probes"]:
        probes = shown(comparison["probes"])
        lines += ["## Probes", "", probes.lead, "", *table(probes.head, probes.rows), *_notes(probes.notes)]
    return "\n".join(lines)


def _shown(tables: Iterable[Table]) -> list[str]:
    return [line for one in tables for line in (f"### {one.title}", "", *table(one.head, one.rows))]


def _notes(notes: list[str]) -> list[str]:
    return [*(f"- {note}" for note in notes), ""]
