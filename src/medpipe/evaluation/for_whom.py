"""For whom the models are better or worse, as Markdown."""

from typing import Any

from medpipe.evaluation.page import bounded, bounds, metric_name, number, signed, table
from medpipe.evaluation.populations import reading


def markdown(comparison: dict[str, Any]) -> str:
    """Tables of the models, to stand behind those of `page.markdown`; nothing where there is nothing to say."""
    found, lines = comparison["populations"], []
    if found["subgroups"]:
        head = ["model", "column", "farthest below the rest", "groups", "metric", "− rest", "p", "p (Holm)"]
        rows = []
        for part in found["subgroups"]:
            worst = part["worst"]
            cells = ["too few groups to compare", "", "", "", "", ""]
            if worst:
                difference = f"{signed(worst['difference'])} {bounds(worst)}"
                cells = [worst["name"], str(worst["groups"]), metric_name(part["metric"]), difference]
                cells += [number(part["p"]), number(part["p_holm"])]
            rows.append([part["model"], part["column"], *cells])
        lines += ["### Subgroups", "", *table(head, rows)]
    if found["external"]:
        metrics = list(found["external"][0]["metrics"])
        rows = [
            [part["model"], str(part["rows"])]
            + [
                f"{number(v['internal'])} → {number(v['external'])}: {signed(v['difference'])} {bounds(v)}"
                for v in part["metrics"].values()
            ]
            for part in found["external"]
        ]
        lines += ["### External test set", "", *table(["model", "rows", *map(metric_name, metrics)], rows)]
    if found["ood"]:
        rows = []
        for part in found["ood"]:
            figures = (part["flagged"]["test"], part["flagged"].get("external"), part.get("auroc"))
            rows.append([part["model"], *(bounded(value) if value else "" for value in figures)])
        lines += ["### Out of distribution", ""]
        lines += table(["model", "test rows flagged", "external rows flagged", "ROC-AUC, external"], rows)
    notes = [f"- {note}" for note in reading(found)]
    return "\n".join(["", "## For whom", "", *lines, *notes, ""]) if lines else ""
