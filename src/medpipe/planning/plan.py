"""The sections that a new task needs, as text with comments that say why."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from medpipe.data.archive import Archive
from medpipe.data.declared import check_rows
from medpipe.data.images import decode, names
from medpipe.data.parts import parted_rows
from medpipe.data.readers import reader_module
from medpipe.data.rows import Rows
from medpipe.data.tables import grouped
from medpipe.errors import InputError
from medpipe.params import Category, Declaration, Decoding, Number, validated
from medpipe.planning.found import Found
from medpipe.planning.groups import SAMPLE, of_folders, propose
from medpipe.planning.sets import published_sets

IMBALANCED = 3  # times as many rows in the largest class as in the smallest, from which on classes are weighted
LEAST = 3  # groups of a class, so that every set gets one
PLENTY = 20  # groups of the smallest class, from which on sets other than training can be small
MOST_SHOWN = 3  # of a category's values, in the report
# Of volumes up to 1,024 slices of 512 pixels.
PLAIN = {"window": None, "frames": "refuse", "axis": None, "context": 0, "max_voxels": 1 << 28}
PRETRAINED = 224  # pixels that EfficientNetB0 was pretrained with


@dataclass(frozen=True)
class Plan:
    """`sections`: {section: lines to add}; `report`: what was found and decided, and what to check."""

    sections: dict[str, list[str]]
    report: list[str]


def plan(name: str, archive: Archive, found: Found, max_pixels: int, split: str | None) -> Plan:
    """`split`: how rows are split where someone has said so. Raises InputError where the reader cannot read the archive
    as it was found."""
    values = {key: value for key, value in vars(found).items() if key not in ("said", "questions")}
    values |= {"archive": str(archive.path), "decoding": PLAIN}
    declared = validated(Declaration, values, str(archive.path), f"tasks.{name}")
    listed = reader_module(declared.reader.kind).read_rows(archive, declared)
    decoding, side = _files(archive, listed.table["path"].tolist(), max_pixels)
    declared = declared.model_copy(update={"decoding": Decoding.model_validate(decoding)})
    if found.reader.get("group", "") is None:
        declared, listed = _grouped(archive, declared, listed, found)
    rows = check_rows(archive, parted_rows(archive, listed, declared, max_pixels), declared)
    known = rows.table[rows.table["label"] != ""]  # masks tell the others
    images = known["label"].value_counts().reindex(list(declared.classes), fill_value=0)
    groups = known.groupby("label")["group"].nunique().reindex(list(declared.classes), fill_value=0)
    labelled = len(known) > 0
    classes = [name for name in declared.classes if not labelled or groups[name] >= LEAST]
    if len(classes) < 2:
        counts = ", ".join(f"{name} {n}" for name, n in groups.items())
        raise InputError(f"{archive.path}: fewer than two classes have {LEAST} groups, one for each set: {counts}")
    least = int(groups[classes].min()) if labelled else rows.table["group"].nunique()
    shares = (0.7, 0.15, 0.15) if least >= PLENTY else (0.6, 0.2, 0.2)
    ratio = images[classes].max() / images[classes].min() if labelled else 1.0
    size = min(PRETRAINED, max(32, side // 32 * 32))
    if split == "given" and "set" not in rows.table:
        raise InputError(
            f"SPLIT=given: {archive.path} names no sets by folders of train, val and test; say group or image"
        )
    by, sets = published_sets(rows.table, classes) if split is None else (split, [])
    if rows.table["grouped"].any():
        found.said["group"] = f"{found.said.get('group', 'as the archive says')}; {_sizes(rows.table)}"
    if declared.reader.group in ("dicom", "study"):
        found.questions += [f"reader.group: {said}" for said in _at_odds(rows.table)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["flow"] = _flow
    text = environment.get_template("sections.yaml.j2").render(
        name=name, task=declared, classes=classes, said=found.said, shares=shares, size=size, decoding=decoding,
        reader=declared.reader.model_dump(mode="json"), models=_models(name, declared),
        mask_values=found.mask_values, by=by,
        features={key: feature.model_dump(mode="json") for key, feature in declared.features.items()},
        categories=any(isinstance(feature, Category) for feature in declared.features.values()),
        weights="balanced" if ratio >= IMBALANCED else "null",
    )  # fmt: skip
    report = [f"{name}: {len(rows.table)} images of {rows.table['group'].nunique()} groups"]
    report += [
        f"  class {label}: {images[label]} images of {groups[label]} groups" for label in images.index if labelled
    ]
    report += [f"  note: {note}" for note in (*rows.notes, *archive.others())]
    if rows.problems:
        some = "; ".join(f"{problem.path or problem.id}: {problem.reason}" for problem in rows.problems[:3])
        report.append(f"  {len(rows.problems)} cannot be used, such as {some}")
    report.append(f"decided: {found.reader['kind']} reads it; images of {size} pixels, for the files have {side}")
    if by == "group":
        report.append(
            f"decided: {shares[0]:.0%}, {shares[1]:.0%} and {shares[2]:.0%} of the groups train, validate and test; "
            f"the smallest class has {least}"
        )
    if ratio >= IMBALANCED:
        report.append(f"decided: classes are weighted, for the largest has {ratio:.1f} times the smallest's images")
    report += [f"check: {key}: {said}" for key, said in found.said.items()]
    if declared.features:
        listed_features = ", ".join(f"{key} ({_allowed(feature)})" for key, feature in declared.features.items())
        report.append(f"check: features: {listed_features}; a new case with others is refused, so widen them")
    report += [
        f"check: class {label} is left out, with {groups[label]} groups; every set needs one"
        for label in declared.classes
        if label not in classes
    ]
    if lost := [problem.path for problem in rows.problems if problem.reason.startswith("no group")]:
        found.questions.append(
            f"reader.ungrouped: {len(lost)} images have no group, such as {', '.join(lost[:MOST_SHOWN])}; `refuse` "
            "leaves them out, `alone` makes each a group of its own, so that the same patient may be on both sides"
        )
    report += [f"choose: tasks.{name}.{question}" for question in found.questions]
    return Plan(_sections(text), report + [line.format(name=name) for line in sets])


def _grouped(archive: Archive, declared: Declaration, listed: Rows, found: Found) -> tuple[Declaration, Rows]:
    """Both with the group that the archive seems to have, which `found` gets too."""
    grouping = propose(archive, listed.table, found.reader.get("file", ""))
    found.said["group"], found.reader["group"] = grouping.said, grouping.group
    found.questions += [f"reader.group: {grouping.question}"] if grouping.question else []
    reader = type(declared.reader).model_validate(found.reader)
    table, notes = grouped(archive, listed.table, reader.group)
    return declared.model_copy(update={"reader": reader}), replace(listed, table=table, notes=(*listed.notes, *notes))


def _sizes(table: pd.DataFrame) -> str:
    """Some of the groups, how many there are and of how many images."""
    counts = table.loc[table["grouped"], "group"].value_counts(sort=False)
    first = table[table["grouped"]].drop_duplicates("group")[:MOST_SHOWN]
    some = ", ".join(f"{group} ({path})" for group, path in zip(first["group"], first["path"], strict=True))
    sizes = f"{counts.min()} to {counts.max()} images each, {counts.median():g} in the median one"
    return f"{len(counts)} groups such as {some}; {sizes}"


def _at_odds(table: pd.DataFrame) -> list[str]:
    """What to ask where folders that seem to be patients hold several groups of the headers."""
    table = table[table["grouped"]]
    if (folders := of_folders(table)) is None:
        return []
    names = table["path"].str.extract(folders.group["pattern"], expand=False)
    several = (held := table["group"].groupby(names).nunique()).index[held > 1]
    if several.empty:
        return []
    return [
        f"{len(several)} of {len(held)} folders such as {several[0]} ({folders.said}) hold several ids of "
        f"headers; if a folder is one patient, write {_flow(folders.group)}"
    ]


def _files(archive: Archive, paths: list[str], max_pixels: int) -> tuple[dict[str, Any], int]:
    """How these images are decoded, and the median of their shorter sides, of some that can be read."""
    some = paths[:: max(1, len(paths) // SAMPLE)]
    medical = PLAIN | {"window": {"percentiles": [0.5, 99.5]}, "frames": "split", "axis": 2}
    for settings in (PLAIN, medical):
        decoding, sides, refused = Decoding.model_validate(settings), [], list[str]()
        for path in some:
            try:
                data = archive.read(path)
                first = names(data, name=path, max_pixels=max_pixels, decoding=decoding)[0]
                sides.append(min(decode(data, name=first, max_pixels=max_pixels, decoding=decoding).size))
            except InputError as error:
                refused.append(str(error))
        if len(sides) > len(some) / 2:
            return settings, int(np.median(sides))
    raise InputError(f"{archive.path}: most of its images cannot be read, such as {next(iter(refused), 'none')}")


def _allowed(feature: Category | Number) -> str:
    if isinstance(feature, Category):
        return ", ".join(feature.values[:MOST_SHOWN]) + (" and others" if len(feature.values) > MOST_SHOWN else "")
    return f"{feature.range[0]:g} to {feature.range[1]:g}"


def _models(name: str, task: Declaration) -> list[str]:
    """The recipes of sections.yaml.j2, the baseline first."""
    reads, classifies = task.features and task.kind != "segment", task.kind != "segment"
    kinds = ["tabular"] * bool(reads) + ["small", "b0"] * classifies + ["resunet"] * (task.kind != "classify")
    return [f"{name}-{kind}" for kind in [*kinds, *(["stacked", "early"] if reads else [])]]


def _sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line[0].isspace():
            lines = found.setdefault(line.rstrip(":"), [])
        elif line.strip():
            lines.append(line)
    return found


def _flow(value: Any) -> str:
    """The value in YAML, on one line."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()
