"""A comparison's answers in plain sentences: which model, by how much, how sure, for whom not.

What is said to be shown is what a corrected test shows at the level of the intervals; the rest are the figures.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from medpipe.evaluation.wording import (
    best,
    bounds,
    metric_name,
    number,
    p_value,
    sections,
    signed,
)
from medpipe.registry.gate import probed, refusal

NAMED = ("Dice", "Tversky")


class Answer(NamedTuple):
    question: str
    short: str
    sentences: list[str]


def summary(comparison: dict[str, Any]) -> list[Answer]:
    """The answers, about the best model; where there is none, that alone. Needs `task` in `comparison`."""
    section = sections(comparison)[0][1]
    first = section["models"][0]
    if comparison["best"] is None:
        return [Answer("Which model?", best(comparison), []), Answer("How sure?", "", list(_split(comparison)))]
    name, value = metric_name(section["metric"]), first["metrics"][section["metric"]]
    against, sentences = _against(comparison, section)
    return [
        Answer("Which model?", comparison["best"], _which(section)),
        Answer("By how much?", against, sentences),
        Answer("How sure?", f"{name} {_figure(value)}", list(_sure(comparison, section))),
        Answer("For whom not?", _worst_class(section), list(_not_for(comparison))),
    ]


def _which(section: dict[str, Any]) -> list[str]:
    first, metric = section["models"][0], section["metric"]
    validated, ranked = first["validation"], sum(model["rank"] is not None for model in section["models"])
    told = (
        f"Of {ranked} models it has the highest {_in_words(metric)} on the {validated['rows']}"
        f" validation rows that all have: {_figure(validated)}."
    )
    found = (
        f"On the {first['rows']} test rows of {first['groups']} groups, which chose nothing, it has"
        f" {_in_words(metric)} {_figure(first['metrics'][metric])}."
    )
    better = [m["model"] for m in section["models"][1:] if m["rank"] and _tested(m, metric) > _tested(first, metric)]
    if better:
        found += f" There {', '.join(better)} {'has' if len(better) == 1 else 'have'} more."
    others = " that answers for all classes" if len(section["models"]) > 1 else ""
    return [told if ranked > 1 else f"It is the only model{others}.", found]


def _tested(model: dict[str, Any], metric: str) -> float:
    return model["metrics"][metric]["value"]


def _in_words(metric: str) -> str:
    """As it stands within a sentence."""
    name = metric_name(metric)
    return name if name[:2].isupper() or name.startswith(NAMED) else name[0].lower() + name[1:]


def _figure(found: dict[str, Any]) -> str:
    """A value, or a difference, and its interval."""
    value = signed(found["difference"]) if "difference" in found else number(found["value"])
    return f"{value}, no valid interval" if found["low"] is None else f"{value} {bounds(found)}"


def _against(comparison: dict[str, Any], section: dict[str, Any]) -> tuple[str, list[str]]:
    """The difference that counts, and a sentence on each of baseline, runner-up and ZeroR."""
    first, *others = section["models"]
    metric, baseline = section["metric"], section["baseline"]
    runner = next((model["model"] for model in others if model["rank"] == 2), None)
    rivals = {} if baseline == first["model"] else {baseline: "the baseline"}
    if runner:
        rivals[runner] = "the baseline and runner-up" if runner in rivals else "the runner-up"
    short, sentences = "", []
    for other, role in rivals.items():
        pair = next(pair for pair in section["pairs"] if (pair["a"], pair["b"]) == (first["model"], other))
        found = pair["metrics"][metric]
        p = next(model["vs_best"]["p_holm"] for model in others if model["model"] == other)
        shown = "not tested" if p is None else f"p\u00a0{p_value(p)}: {_shown(comparison, p)}"
        rows = "" if pair["rows"] == first["rows"] else f" on the {pair['rows']} rows that both have"
        sentences.append(f"Against {role}, {other}: {_figure(found)}{rows}; {shown}.")
        if p is not None and p >= 1 - comparison["confidence"]:
            margin = pair["no_worse"]["a"]
            sentences.append(f"That it is worse by {section['margin']:g} or more: p\u00a0{p_value(margin)}, one-sided.")
        short = short or f"{signed(found['difference'])} against {role}"
    if not rivals:
        sentences.append("There is no other model to compare it with.")
    zero = section.get("zero_r", {})
    if zero.get(metric) is not None:
        sentences.append(f"Always “{zero['label']}” (ZeroR): {number(zero[metric])}.")
    return short, sentences


def _shown(comparison: dict[str, Any], p: float) -> str:
    return "a difference is shown" if p < 1 - comparison["confidence"] else "no difference is shown"


def _sure(comparison: dict[str, Any], section: dict[str, Any]) -> Iterator[str]:
    first = section["models"][0]
    value = first["metrics"][section["metric"]]
    level = f"{comparison['confidence']:.0%}"
    if value["low"] is None:
        yield f"No valid interval: {value['why']}." if "why" in value else "No valid interval."
    else:
        yield f"{level} interval over {first['groups']} groups."
    if tests := section["tests"]:
        count = "1 test" if tests == 1 else f"{tests} tests"
        yield f"Each p is corrected for {count} (Holm); intervals are not."
    yield from _split(comparison)
    found = (comparison["classification"] or {}).get("calibration", {}).get(first["model"])
    if found:
        before = number(found["ece_before"]["value"])
        yield (
            f"Expected calibration error of its probabilities, too large where test rows are few:"
            f" {number(found['ece']['value'])}; {before} before its temperature of {found['temperature']:.2f}."
        )
    else:
        yield "Its calibration was not measured."


def _split(comparison: dict[str, Any]) -> Iterator[str]:
    if comparison["leak"]:
        yield "The split leaks: sets share lesions or patients with training, so the figures are inflated."
    if said := comparison["grouping"]:
        yield f"{said[0].upper()}{said[1:]}."


def _worst_class(section: dict[str, Any]) -> str:
    first, of = section["models"][0], section["of_class"]
    known = {name: row[of] for name, row in first["per_class"].items() if row[of]["value"] is not None}
    if not known:
        return ""
    name = min(known, key=lambda name: known[name]["value"])
    return f"{name}: {_in_words(of)} {_figure(known[name])}, the lowest of {len(known)} classes"


def _not_for(comparison: dict[str, Any]) -> Iterator[str]:
    """Of the best model, what its subgroups, other images, probes and the gate's conditions say."""
    found = {
        part: [one for one in listed if one["model"] == comparison["best"]]
        for part, listed in comparison["populations"].items()
    }
    compared = [one for one in found["subgroups"] if one["worst"]]
    if compared:
        low = min(compared, key=lambda one: one["worst"]["difference"])
        worst, p = low["worst"], low["p_holm"]
        shown = "not tested" if p is None else f"p\u00a0{p_value(p)}: {_shown(comparison, p)}"
        yield (
            f"Subgroups: farthest below the rest is {low['column'].replace('_', ' ')} {worst['name']},"
            f" {_in_words(low['metric'])} {_figure(worst)}; {shown}."
        )
    else:
        yield "Subgroups: none has enough groups to be compared, or none is declared."
    for one in found["external"]:
        metric = comparison["metric"] if comparison["metric"] in one["metrics"] else next(iter(one["metrics"]))
        value = one["metrics"][metric]
        yield (
            f"External test set: {_in_words(metric)} {number(value['external'])},"
            f" against the internal one {_figure(value)}."
        )
    for one in found["ood"]:
        flagged = one["flagged"]
        external = f", {flagged['external']['value']:.0%} of external ones" if "external" in flagged else ""
        yield f"Images unlike its training: {flagged['test']['value']:.0%} of test rows are flagged{external}."
    if not found["external"]:
        yield "No external test set was measured with it."
    if not found["ood"]:
        yield "It has no score of how unlike its training an image is."
    best_run = {"model": comparison["best"], "run": comparison["runs"].get(comparison["best"])}
    yield f"Shortcuts: {probed(best_run, comparison['probes'])}."
    asked = comparison["gate"]
    if refused := refusal(asked):
        yield f"The gate refuses it: {refused}."
    elif asked:
        yield f"Gate: of {len(asked)} conditions that need no champion it fails none."
