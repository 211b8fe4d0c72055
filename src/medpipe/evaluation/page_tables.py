"""The tables of a comparison, as its Markdown and its page show them: cells are text, the first of a row its name."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from medpipe.evaluation.metrics import COUNTED
from medpipe.evaluation.trust import CALIBRATION, DECISIONS
from medpipe.evaluation.wording import (
    bounded,
    bounds,
    from_on,
    metric_name,
    number,
    other_metrics,
    p_value,
    signed,
    threshold,
)

POINT, COUNTS = ("accuracy", "precision", "recall"), ("missed", "false_alarms")

Section = dict[str, Any]


class Table(NamedTuple):
    title: str
    about: str
    head: list[str]
    rows: list[list[str]]


def difference(found: dict[str, Any]) -> str:
    return f"{signed(found['difference'])} {bounds(found)}".strip()


def ranking(section: Section) -> list[Table]:
    """By the metric that ranks, and all others of the same models."""
    metric, others = section["metric"], other_metrics(section)
    name, rows, further = metric_name(metric), [], []
    for model in section["models"]:
        cells = [model["model"], str(model["rank"] or f"{model['only']} only")]
        cells += [bounded(model["validation"]), bounded(model["metrics"][metric])]
        for against in (model["vs_best"], model["vs_baseline"]):
            cells += [difference(against), p_value(against["p_holm"])] if against else ["", ""]
        rows.append([*cells, str(model["rows"]), str(model["groups"])])
        further.append([model["model"], *(bounded(model["metrics"][m]) for m in others)])
    if "zero_r" in section:
        zero = section["zero_r"]
        said = f"ZeroR ({zero['label']})"
        rows.append([said, "", "", number(zero.get(metric)), *[""] * 6])
        further.append([said, *(number(zero.get(m)) if m in zero else "" for m in others)])
    head = ["model", "rank", f"{name}, validation", f"{name}, test", "− best", "p (Holm)", "− baseline", "p (Holm)"]
    return [
        Table("Ranking", "", [*head, "test rows", "groups"], rows),
        Table("All metrics", "of test rows", ["model", *map(metric_name, others)], further),
    ]


def tests(section: Section) -> tuple[Table, Table]:
    """Of the pairs with best or baseline, which the ranking tests; and of all others."""
    metric, classes = section["metric"], section.get("classes", [])
    further = [] if classes else other_metrics(section)
    head = ["models", "rows", f"{metric_name(metric)}, difference", "p (raw)", "first no worse", "second no worse"]
    head += ["McNemar"] if classes else []
    head += ["DeLong"] if len(classes) == 2 else []
    own: tuple[list[list[str]], list[list[str]]] = [], []
    for pair in section["pairs"]:
        cells = [f"{pair['a']} − {pair['b']}", str(pair["rows"]), difference(pair["metrics"][metric])]
        cells += [p_value(p) for p in (pair["metrics"][metric]["p"], *pair["no_worse"].values())]
        cells += [p_value(pair["mcnemar"]["p"])] if classes else []
        cells += [p_value(pair["delong"][classes[1]]["p"])] if len(classes) == 2 else []
        cells += [difference(pair["metrics"][m]) for m in further]
        own[not {pair["a"], pair["b"]} & {section["best"], section["baseline"]}].append(cells)
    head += [f"{metric_name(m)}, difference" for m in further]
    about = "first model minus second, on test rows"
    return Table("Tests", f"of best and baseline; {about}", head, own[0]), Table("Other pairs", about, head, own[1])


def pairs_by_class(section: Section) -> Iterator[Table]:
    """Precision, recall and F1 of each pair of classifiers."""
    for pair in section["pairs"]:
        head = ["class", *(f"{metric_name(m)}, {end}" for m in COUNTED for end in ("first", "second", "difference"))]
        rows = []
        averages = {a: {m: pair["metrics"][f"{a}_{m}"] for m in COUNTED} for a in ("macro", "weighted")}
        for name, found in (pair["per_class"] | averages).items():
            cells = [c for m in COUNTED for d in [found[m]] for c in (number(d["a"]), number(d["b"]), difference(d))]
            auc = pair["delong"].get(name)
            rows.append([name, *cells, *((signed(auc["difference"]), p_value(auc["p"])) if auc else ("", ""))])
        yield Table(f"{pair['a']} − {pair['b']}", "", [*head, "ROC-AUC, difference", "p (DeLong)"], rows)


def by_class(section: Section) -> Table:
    """The metric of each class, and in brackets its difference from the first model's."""
    of, rows = section["of_class"], []
    for name, support in section["support"].items():
        found = [model["per_class"][name][of] for model in section["models"]]
        cells = [bounded(found[0])]
        for one in found[1:]:
            known = one["value"] is not None and found[0]["value"] is not None
            less = f" ({signed(one['value'] - found[0]['value'])})" if known else ""
            cells.append(f"{number(one['value'])}{less} {bounds(one)}")
        rows.append([name, str(support), *cells])
    about = f"in brackets its difference from {section['models'][0]['model']}" if len(section["models"]) > 1 else ""
    models = [model["model"] for model in section["models"]]
    return Table(f"{metric_name(of)} of each class", about, ["class", "n", *models], rows)


def published(section: Section, figures: dict[str, dict[str, float]]) -> Iterator[Table]:
    """Ours beside what the original of a model published, where it did: {model: {metric: value}}."""
    for model in section["models"]:
        cells: dict[str, dict[str, str]] = {}
        for metric, value in figures.get(model["model"], {}).items():
            name, _, of = metric.partition(":")
            found = model["per_class"].get(of, {}).get(name) if of else model["metrics"].get(name)
            if found is None or found["value"] is None:
                continue
            average, _, averaged = name.partition("_")
            row, column = (average, averaged) if average in ("macro", "weighted") else (of or "all rows", name)
            less = signed(found["value"] - value)
            cells.setdefault(row, {})[column] = f"{number(value)} → {number(found['value'])} ({less})"
        if cells:
            order = [name for name in (*section["support"], "macro", "weighted", "all rows") if name in cells]
            known = {column for row in cells.values() for column in row}
            columns = sorted(known, key=lambda column: (*COUNTED, column).index(column))
            rows = [[name, *(cells[name].get(column, "") for column in columns)] for name in order]
            title = f"{model['model']} beside what was published"
            yield Table(title, "published → ours (difference)", ["of", *map(metric_name, columns)], rows)


def trusted(section: Section) -> Iterator[Table]:
    """Calibration, decisions and operating points of the classifiers that have them."""
    if found := section.get("calibration"):
        rows = [[n, number(of["temperature"], 2), *(bounded(of[m]) for m in CALIBRATION)] for n, of in found.items()]
        about = "before its temperature and after"
        yield Table("Calibration", about, ["model", "temperature", *map(metric_name, CALIBRATION)], rows)
    if found := section.get("decisions"):
        rows = [
            [name, f"{of['of']} {from_on(of['threshold'])}", *(bounded(of[m]) for m in DECISIONS)]
            for name, of in found.items()
        ]
        yield Table("Decisions", "by what validation rows chose", ["model", "says", *map(metric_name, DECISIONS)], rows)
    if found := section.get("operating_points"):
        rows = [
            [
                name,
                threshold(point),
                *(bounded(point[m]) for m in POINT),
                *(number(point[m]["value"], 0) for m in COUNTS),
            ]
            for name, points in found.items()
            for point in points
        ]
        title = f"Operating points of {section['classes'][1]}"
        yield Table(title, "", ["model", "threshold", *map(metric_name, (*POINT, *COUNTS))], rows)


def for_whom(populations: dict[str, Any]) -> Iterator[Table]:
    """Subgroups, external test set and out-of-distribution score of the models that have them."""
    if found := populations["subgroups"]:
        rows = []
        for part in found:
            cells = ["too few groups to compare", *[""] * 6]
            if worst := part["worst"]:
                cells = [worst["name"], str(worst["rows"]), str(worst["groups"]), metric_name(part["metric"])]
                cells += [difference(worst), p_value(part["p"]), p_value(part["p_holm"])]
            rows.append([part["model"], part["column"].replace("_", " "), *cells])
        head = ["model", "column", "subgroup", "rows", "groups", "metric", "− rest", "p (column)", "p (Holm)"]
        yield Table("Subgroups", "the one farthest below the rest of the test rows", head, rows)
    if found := populations["external"]:
        rows = [
            [part["model"], str(part["rows"]), str(part["groups"])]
            + [f"{number(v['internal'])} → {number(v['external'])}: {difference(v)}" for v in part["metrics"].values()]
            for part in found
        ]
        head = ["model", "rows", "groups", *map(metric_name, found[0]["metrics"])]
        yield Table("External test set", "from the internal test rows to the external ones", head, rows)
    if found := populations["ood"]:
        rows = []
        for part in found:
            figures = (part["flagged"]["test"], part["flagged"].get("external"), part.get("auroc"))
            rows.append([part["model"], *(bounded(value) if value else "" for value in figures)])
        head = ["model", "test rows flagged", "external rows flagged", "ROC-AUC, external"]
        yield Table("Out of distribution", "share of rows flagged, and what the distance tells apart", head, rows)
