"""A reporting checklist after CLAIM 2024 (Tejani 2024, doi 10.1148/ryai.240300), answered from a run's files as far as
these tell.

Number, sections, order and subjects of the items are those of a published summary; the wording is ours. The published
table was not at hand, so that no item is verified against it (UNVERIFIED).

What only a person knows is marked so; an item that does not apply says why.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from medpipe.evaluation.wording import bounded, metric_name, table
from medpipe.registry.card import card, disjoint, kind, reads, subgroups
from medpipe.registry.evidence import PERSON, Evidence
from medpipe.registry.gate import probed

UNVERIFIED = (
    "It follows the 2024 edition of CLAIM (Tejani 2024, doi 10.1148/ryai.240300) in the sections, the subjects and the "
    "order of its 44 items, in other words. None of them was verified against the published table, so this document "
    "states no conformity: fill in the published form for a submission."
)
NOT = "not applicable: "
CARD = "see the card, "


class Item(NamedTuple):
    """`answer`: None where only a person can."""

    section: str
    asks: str
    answer: Callable[[Evidence], str] | None


ITEMS = (
    Item("Title", "that it is a study of AI, and of which technique", lambda e: f"{e.delivered.name}: {kind(e)}"),
    Item("Abstract", "a structured summary", lambda e: "the card, of which this is the second part"),
    Item("Introduction", "background, intended use and role", lambda e: e.use),
    Item("Introduction", "aims and hypotheses", None),
    Item("Design", "prospective or retrospective", lambda e: "retrospective: images that were there before the model"),
    Item("Design", "goal of the study", lambda e: _goal(e)),
    Item("Data", "sources", lambda e: f"`{e.declared.archive}`, {_hashes(e)}; from where: {_source(e)}"),
    Item("Data", "inclusion and exclusion", lambda e: f"{_line(e)}, see quarantine.csv; of people: {_source(e)}"),
    Item("Data", "preprocessing", lambda e: _preprocessing(e)),
    Item("Data", "selection of subsets", lambda e: _subsets(e)),
    Item("Data", "de-identification", lambda e: _drawn(e)),
    Item("Data", "missing values", lambda e: _missing(e)),
    Item("Data", "acquisition of the images", lambda e: _drawn(e)),
    Item("Reference", "how it was obtained", lambda e: _drawn(e)),
    Item("Reference", "why it was chosen", lambda e: _drawn(e)),
    Item("Reference", "who annotated", lambda e: _drawn(e)),
    Item("Reference", "how the test set was annotated", lambda e: _drawn(e)),
    Item("Reference", "variability between and within annotators", lambda e: _drawn(e)),
    Item(
        "Partitions", "how cases were assigned", lambda e: f"by {e.split['by']}, seed {e.split['seed']}: {_totals(e)}"
    ),
    Item("Partitions", "the level at which they are disjoint", disjoint),
    Item("Testing", "intended sample size", None),
    Item("Model", "inputs, outputs, layers", lambda e: f"reads {reads(e)}; layers: `model.keras` in the version"),
    Item("Model", "software", lambda e: e.versions),
    Item("Model", "how parameters were initialised", lambda e: "; ".join(f"{n}: {s}" for n, s in e.starts.items())),
    Item("Training", "training approach", lambda e: CARD + "Recipe; every setting is a parameter of the run in MLflow"),
    Item("Training", "choice of the final model", lambda e: _chosen(e)),
    Item("Training", "ensembling", lambda e: _ensemble(e)),
    Item("Evaluation", "metrics", lambda e: ", ".join(metric_name(m) for m in e.test["overall"])),
    Item("Evaluation", "uncertainty and significance", lambda e: _uncertainty(e)),
    Item("Evaluation", "robustness", lambda e: "; ".join([probed(e.report, e.probes), *subgroups(e)])),
    Item("Evaluation", "explainability", lambda e: "plots of the run in MLflow; whether they explain: " + PERSON),
    Item("Evaluation", "internal data", lambda e: f"{e.test['rows']} test images of {e.test['groups']} groups"),
    Item("Evaluation", "external data", lambda e: _external(e)),
    Item("Evaluation", "registration of a trial", lambda e: NOT + "no patient took part" if e.phantom else PERSON),
    Item("Results", "cases included and excluded", lambda e: f"{_line(e)}; {len(e.split['excluded'])} not used"),
    Item("Results", "characteristics of each partition", lambda e: f"the exploration page of the task; {_totals(e)}"),
    Item("Results", "performance and uncertainty", lambda e: _headline(e)),
    Item("Results", "diagnostic accuracy", lambda e: CARD + "Figures" if e.classification else NOT + "masks alone"),
    Item("Results", "failures", lambda e: _failures(e)),
    Item("Discussion", "limitations", lambda e: " ".join(e.limits)),
    Item("Discussion", "implications for practice", lambda e: f"{e.use}. No medical device"),
    Item("Other", "protocol and further details", lambda e: f"the repository at commit `{e.commit}`"),
    Item(
        "Other",
        "availability of software, model, data",
        lambda e: f"code Apache 2.0; data {e.data_licence}; model {PERSON}",
    ),
    Item("Other", "funding", None),
)


def texts(evidence: Evidence, decision: dict[str, Any]) -> dict[str, str]:
    """{card, claim}: what stands beside a version, in Markdown. `decision`: of champion.json."""
    return {"card": card(evidence, decision), "claim": claim(evidence)}


def answers(evidence: Evidence) -> list[str]:
    """One an item: from the files, `not applicable: why`, or with PERSON in it."""
    return [item.answer(evidence) if item.answer else PERSON for item in ITEMS]


def claim(evidence: Evidence) -> str:
    """The checklist in Markdown."""
    said = answers(evidence)
    person = sum(PERSON in answer for answer in said)
    moot = sum(answer.startswith(NOT) for answer in said)
    rows = [
        [str(number), item.section, item.asks, answer]
        for number, (item, answer) in enumerate(zip(ITEMS, said, strict=True), start=1)
    ]
    lines = [
        f"# {evidence.delivered.name}: reporting checklist",
        "",
        UNVERIFIED,
        "",
        f"{len(ITEMS)} items: {len(ITEMS) - person - moot} answered from this run's files, {person} that a person "
        f"has to state in whole or part, {moot} not applicable.",
        "",
        *table(["item", "section", "asks for", "answer"], rows),
    ]
    return "\n".join(lines)


def _source(e: Evidence) -> str:
    return "drawn by this repository" if e.phantom else PERSON


def _drawn(e: Evidence) -> str:
    return NOT + "drawings of nobody, whose labels the drawing knows" if e.phantom else PERSON


def _goal(e: Evidence) -> str:
    return "to show that the machinery runs" if e.phantom else f"creation of a model; further: {PERSON}"


def _line(e: Evidence) -> str:
    return e.ingest.splitlines()[0]


def _hashes(e: Evidence) -> str:
    return ", ".join(f"{name} `{value}`" for name, value in e.hashes.items())


def _totals(e: Evidence) -> str:
    return ", ".join(f"{name} {rows}" for name, rows in e.totals.items()) + " images"


def _preprocessing(e: Evidence) -> str:
    said = []
    for variant in e.delivered.variants:
        if variant["kind"] == "table":
            said.append("columns one-hot, imputed and scaled by training rows")
            continue
        steps = ["centre crop"] * variant["square"] + [f"resized to {' then '.join(map(str, variant['sizes']))} px"]
        said.append(", ".join([*steps, *["histogram equalised"] * variant["equalise"]]))
    return "; ".join(dict.fromkeys(said))


def _subsets(e: Evidence) -> str:
    said = [f"{name} on {settings['only']} alone" for name, settings in e.parts if settings.get("only")]
    said += [f"{name} undersampled" for name, settings in e.parts if settings.get("undersample")]
    return "; ".join(said) or "none: all images of a set"


def _missing(e: Evidence) -> str:
    unknown = {
        "drop": "rows are dropped",
        "category": "a category of their own",
        "impute": "imputed from training rows",
    }
    if not any(e.delivered.features):
        return NOT + "it reads no metadata"
    return f"unknown values of categories: {unknown[e.unknown] if e.unknown else 'none'}; of numbers imputed"


def _chosen(e: Evidence) -> str:
    metric = metric_name(e.comparison["metric"])
    return (
        f"{metric} on validation images, of {len(e.comparison['ranking'])} models: {', '.join(e.comparison['ranking'])}"
    )


def _ensemble(e: Evidence) -> str:
    made = e.delivered.settings.get("kind")
    return f"{made} of {', '.join(name for name, _ in e.parts)}" if made else NOT + "one network"


def _uncertainty(e: Evidence) -> str:
    said = f"{e.report['confidence']:.0%} intervals and paired tests by {e.report['resamples']} resamples of groups"
    return f"{said}; Holm's correction"


def _external(e: Evidence) -> str:
    external = e.report["sets"].get("external")
    if external:
        return f"{external['rows']} images of {external['groups']} groups of the source {e.declared.external}"
    if e.declared.external:
        return "none: the external images have no metadata, which it reads"
    return f"none in the archive; further: {PERSON}"


def _headline(e: Evidence) -> str:
    metric = e.comparison["metric"]
    overall = (e.classification or {}).get("overall", {}) | e.test["overall"]
    return f"{metric_name(metric)} {bounded(overall[metric])} on test images; {CARD}Figures"


def _failures(e: Evidence) -> str:
    if e.classification is None:
        return "overlays of the worst masks, in the plots of the run"
    wrong = sum(n for i, row in enumerate(e.classification["confusion"]) for j, n in enumerate(row) if i != j)
    return (
        f"{wrong} of {e.classification['rows']} test images are wrong; the confusion matrix is in the plots of the run"
    )
