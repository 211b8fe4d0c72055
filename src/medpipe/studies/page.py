"""A study's table as Markdown."""

from typing import Any

from medpipe.evaluation.wording import bounded, bounds, metric_name, number, signed, table


def markdown(study: dict[str, Any]) -> str:
    """The table, what is not finished, how to read it, and the published figures beside ours."""
    metric = study["metric"]
    ranked = [row for row in study["rows"] if row["rank"] is not None]
    others = [m for m in (ranked[0]["metrics"] if ranked else ()) if m != metric]
    own = any(row["own_classes"] for row in ranked)
    head = ["", "row", metric_name(metric), *([f"{metric_name(metric)}, own classes"] if own else [])]
    head += ["seeds", "sd of seeds", f"− {study['baseline']}", "p", "p (Holm)", *map(metric_name, others), "training"]
    lines = [f"# {study['task']}: study {study['study']}", ""]
    if study["split_by"] == "image":
        lines += ["> **Split by image: the test set shares groups with training. The figures are inflated.**", ""]
    lines += table(head, [_cells(row, metric, others, own) for row in study["rows"]])
    controlled = [row for row in ranked if row["vs_control"]]
    if controlled:
        head = ["row", "control", f"{metric_name(metric)}, row − control", "p", "p (Holm)"]
        lines += table(head, [[row["row"], row["control"], *_difference(row["vs_control"])] for row in controlled])
    for row in study["rows"]:
        lines += [f"- **{row['row']}**, seed {seed}: {why}." for seed, why in row["unfinished"].items()]
    lines += [f"- {note}" for note in _reading(study)]
    lines += _published(study["rows"])
    return "\n".join([*lines, ""])


def _cells(row: dict[str, Any], metric: str, others: list[str], own: bool) -> list[str]:
    cells = [str(row["rank"] or ""), row["row"]]
    if row["rank"] is None:
        return [*cells, "not finished", *[""] * (7 + len(others) + own - 1)]
    found, against = row["metrics"][metric], row["vs_baseline"]
    cells.append(bounded(found))
    if own:
        over = row["own_classes"]
        cells.append(f"{number(over['value'])} ({over['classes']})" if over else "")
    cells += [", ".join(map(str, row["seeds"])), "" if found["sd"] is None else number(found["sd"])]
    cells += _difference(against) if against else ["", "", ""]
    return [*cells, *(bounded(row["metrics"][m]) for m in others), f"{row['seconds']:.0f} s"]


def _difference(found: dict[str, Any]) -> list[str]:
    return [f"{signed(found['difference'])} {bounds(found)}", number(found["p"]), number(found["p_holm"])]


def _published(rows: list[dict[str, Any]]) -> list[str]:
    """The original's figures that ours have counterparts of: a line a figure, and a line a class."""
    whole: list[list[str]] = []
    classes: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        for figure in row["published"]:
            if figure["ours"] is None:
                continue
            pair = [number(figure["published"]), number(figure["ours"])]
            name, _, of = figure["metric"].replace("_", " ").replace("f1", "F1").replace("@", " at ").partition(":")
            if of:
                classes.setdefault((row["row"], of), {})[name] = pair
            else:
                whole.append([row["row"], name, *pair])
    if not whole and not classes:
        return []
    lines = ["", "## Published figures, and ours of the same set and classes", ""]
    lines += [
        "The published ones are the original's, on its own split and at its own scale, and no result of this project.",
        "",
    ]
    if whole:
        lines += table(["row", "metric", "published", "ours"], whole)
    if classes:
        names = list(dict.fromkeys(name for found in classes.values() for name in found))
        head = ["row", "class", *(cell for name in names for cell in (f"{name}, published", "ours"))]
        lines += table(
            head, [[*key, *(c for n in names for c in found.get(n, ["", ""]))] for key, found in classes.items()]
        )
    return lines


def _reading(study: dict[str, Any]) -> list[str]:
    """What must be known to read the figures."""
    sizes = " or ".join(f"{size['rows']} ({size['groups']} groups)" for size in study["data"]["test"]) or "none yet"
    hashes = "; ".join(f"{tag} {', '.join(values)}" for tag, values in study["data"]["hashes"].items())
    notes = [
        f"Scale `{study['scale']}`, split by {study['split_by']}, test rows: {sizes}."
        + (f" Hashes of the data: {hashes}." if hashes else ""),
        f"Intervals: {study['confidence']:.0%}, studentised by {study['resamples']} resamples of whole groups"
        " (lesions or patients) of the test rows. A row of several seeds is their mean; the interval is that of the"
        " mean and leaves out what other seeds would change, for which stands the sample standard deviation.",
        "Training: wall-clock time a seed, from its first start to its end, pauses after an interruption included.",
    ]
    if study["tests"]:
        others = f"{study['baseline']}{' and from controls' if any(r.get('vs_control') for r in study['rows']) else ''}"
        notes.append(
            f"Differences from {others}: paired, in the same resamples; p two-sided, then corrected by"
            f" Holm's method for all tests ({study['tests']})."
        )
    if any(row.get("own_classes") for row in study["rows"]):
        notes.append(
            f"These figures are over {', '.join(study['classes'])}, into which a model's further classes are merged;"
            " `own classes` is the value over those that the model knows, in brackets how many."
        )
    return notes
