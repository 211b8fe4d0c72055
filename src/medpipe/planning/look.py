"""What an archive that nobody has described seems to be: its reader, classes, groups and features. It only reads."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from medpipe.data.archive import Archive, stem
from medpipe.data.formats import READ
from medpipe.data.readers.folders import SETS
from medpipe.data.tables import Files, folded
from medpipe.errors import InputError
from medpipe.planning import layouts, masks
from medpipe.planning.columns import class_name, classes, doubtful, features, kinds, one_hot
from medpipe.planning.groups import GROUPS, SAMPLE, called, id_columns, tables
from medpipe.planning.levels import MOST_CLASSES, class_levels

LABELS = ("label", "labels", "class", "diagnosis", "dx", "target", "category", "finding", "outcome", "grade", "type")
SOURCES = ("source", "site", "hospital", "centre", "center", "institution", "scanner", "device", "camera", "dataset")


@dataclass
class Found:
    """A proposal: `reader`, `classes` and so on as a declaration has them, and what a person must know of each.

    `said` is by key; `questions` are what is ambiguous, with the choices.
    """

    reader: dict[str, Any]
    classes: list[str] = field(default_factory=list)
    kind: str = "classify"
    mask_values: dict[str, list[int | str]] | None = None
    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    subgroups: list[str] = field(default_factory=list)
    external: str | None = None
    said: dict[str, str] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)


def look(archive: Archive) -> Found:
    """The first of these that fits: a published archive, an ISIC export, a table, pairs of image and mask, folders.

    Raises InputError that says what is there where none does.
    """
    images = archive.images()
    if not images:
        raise InputError(f"{archive.path}: holds no images that can be read ({READ}); {'; '.join(archive.others())}")
    for find in (_published, _isic, _table, _pairs, _folders):
        if (found := find(archive, images)) is not None:
            return found
    folders = Counter(path.rpartition("/")[0] for path in images).most_common(5)
    raise InputError(
        f"{archive.path}: {len(images)} images, but neither folders of classes, a table that names them, nor masks. "
        f"Images lie in: {', '.join(f'{name or chr(46)} ({count})' for name, count in folders)}"
    )


def _published(archive: Archive, images: Sequence[str]) -> Found | None:
    stems = {stem(name) for name in archive.names()}
    if "HAM10000_metadata" in stems:
        places = (
            "abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower extremity", "neck",
            "scalp", "trunk", "upper extremity",
        )  # fmt: skip
        return Found(
            {"kind": "ham10000"}, ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"],
            features={
                "age": {"range": [0, 120], "bands": [0, 30, 45, 60, 75]}, "sex": {"values": ["male", "female"]},
                "localization": {"values": list(places)},
            },
            subgroups=["dx_type", "sex", "age_band", "localization"], external="isic2018",
        )  # fmt: skip
    if sum(bool(re.fullmatch(r"TCGA_.+_\d{8}_\d+_mask", stem(name))) for name in images) > len(images) / 4:
        return Found(
            {"kind": "lgg"}, ["healthy", "tumour"], kind="both", mask_values={"tumour": [255]}, subgroups=["site"]
        )
    classes = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
    if all(any(f"/{name}/" in f"/{path}" for path in images) for name in classes):
        return Found({"kind": "radiography"}, list(classes), subgroups=["source"])
    return None


def _isic(archive: Archive, images: Sequence[str]) -> Found | None:
    for name, table in tables(archive):
        if stem(name) == "metadata" and "isic_id" in table:
            column = next(
                (c for c in ("diagnosis_3", "diagnosis", "diagnosis_1", "benign_malignant") if c in table), None
            )
            if column is None:
                return None
            found = Found({"kind": "isic", "label": column, "codes": {}, "ungrouped": "refuse"})
            found.classes, found.reader["codes"] = classes(table[column])
            found.questions += _doubts(table[column])
            found.features, columns = features(
                table, {"isic_id", "patient_id", "lesion_id", column}, table[column], found.questions
            )
            renamed = {"age_approx": "age", "anatom_site_general": "localization"}
            found.features = {renamed.get(k, k): v for k, v in found.features.items() if columns[k] == k}
            found.said["reader"] = f"{name} is an export of the ISIC archive; the label is its {column}"
            return found
    return None


def _table(archive: Archive, images: Sequence[str]) -> Found | None:
    files = Files(images, "")
    best: tuple[float, str, str, pd.DataFrame] | None = None
    for name, table in tables(archive):
        for column in table:
            values = table[column][table[column] != ""]
            hits = sum(bool(files.find(value)) for value in values.head(SAMPLE)) / max(1, min(SAMPLE, len(values)))
            wanted = not any(word in str(column).casefold() for word in ("mask", "seg"))
            if hits > 0.8 and len(values.unique()) > 0.9 * len(values) and wanted and (best is None or hits > best[0]):
                best = hits, name, str(column), table
    if best is None:
        return None
    _, name, image, table = best
    mask = next((str(c) for c in table if c != image and _names_masks(table[c], files)), None)
    reader: dict[str, Any] = {"kind": "table", "file": name, "images": "", "image": image, "mask": mask}
    found = Found(reader, said={"reader": f"{name} names {len(table)} images in its column {image}"})
    used = {image, *filter(None, [mask])}
    ids, source = called(table, GROUPS), next(iter(called(table, SOURCES)), None)
    groups = id_columns(table)
    if groups:
        found.said["group"] = f"the column {' and '.join(groups)}"
    named = [column for column in called(table, LABELS) if column not in {*used, *groups}]
    hot = one_hot(table.drop(columns=[c for c in (*used, *groups, source) if c]))
    few = [str(c) for c in table if c not in {*used, *groups, source} and 2 <= kinds(table[c]) <= MOST_CLASSES]
    if hot and not named:
        reader |= {"label": {class_name(c): c for c in hot}, "codes": {}}
        found.classes, used = [class_name(c) for c in hot], used | set(hot)
        labels = table[hot].astype(float).to_numpy().argmax(axis=1)
        label_values = pd.Series(np.array(found.classes)[labels], index=table.index)
    elif not named and not mask and (folders := _folders(archive, images)) is not None:
        label_values, found.classes = None, folders.classes
        reader |= {"label": None, "codes": folders.reader["codes"]}
        found.said["label"] = "the folder that an image lies in is its class"
    elif named or (few and not mask):
        column = (named or few)[0]
        if len(named or few) > 1:
            found.questions.append(f"reader.label: {column} was taken; it could be {', '.join((named or few)[1:6])}")
        label_values, used = table[column], used | {column}
        found.classes, codes = classes(label_values)
        found.questions += _doubts(label_values)
        reader |= {"label": column, "codes": codes}
    elif mask:
        reader |= {"label": None, "codes": {}}
        label_values, found.classes = None, ["unmarked", "marked"]
    else:
        return None
    if mask:
        found.kind, found.mask_values = "both", _mask_values(archive, files, table[mask], found)
    sets = next(iter(called(table, ("split", "set", "subset"))), None)
    if sets:
        found.questions.append(
            f"reader.set: the column {sets} is ignored, rows are dealt anew; name it to keep its sets"
        )
    reader |= {"source": source, "set": None, "ungrouped": "refuse"}
    reader["group"] = {"column": groups[0] if len(groups) == 1 else groups} if groups else None
    found.features, columns = features(table, used | {*ids, sets, source}, label_values, found.questions)
    reader["columns"] = {name: column for name, column in columns.items() if name != column}
    found.subgroups += [name for name in found.features if "values" in found.features[name]][:4]
    found.subgroups += [f"{name}_band" for name, feature in found.features.items() if feature.get("bands")]
    if source:
        found.subgroups.append("source")
        found.questions.append(f"reader.source: {source} says where images come from; a part of the body is a feature")
    return found


def _doubts(labels: pd.Series) -> list[str]:
    """What to ask of labels that may stand for one that is not known."""
    words = doubtful(labels)
    return [f"classes: {words} count as classes; take out what stands for a label that is not known"] if words else []


def _names_masks(values: pd.Series, files: Files) -> bool:
    """Whether most values name files, each another one."""
    some = values.head(SAMPLE)
    return values.nunique() > len(values) / 2 and sum(bool(files.find(v)) for v in some if v) > len(some) / 2


def _pairs(archive: Archive, images: Sequence[str]) -> Found | None:
    pairing = layouts.propose(images)
    if pairing is None:
        return None
    reader: dict[str, Any] = {"kind": "pairs", "images": pairing.images, "masks": pairing.masks, "codes": {}}
    said = f"{len(pairing.files)} masks, told by their paths; what the patterns' groups match is the same of both"
    found = Found(reader | {"group": None, "ungrouped": "refuse"}, ["unmarked", "marked"], "both")
    found.said["reader"], found.questions = said, pairing.questions
    if pairing.classes:
        found.classes, found.reader["codes"] = classes(pd.Series(pairing.classes))
        found.questions.append(
            "classes: folders are taken for the classes of images that have masks as well; without the group ?P<label> "
            "in the patterns (`[^/]+` in its place), masks tell whether an image is marked"
        )
    else:
        found.questions.append("classes: an empty mask is called unmarked, another marked; call them what they are")
    found.mask_values = _mask_values(archive, Files(images, ""), pd.Series(pairing.files), found)
    return found


def _folders(archive: Archive, images: Sequence[str]) -> Found | None:
    parts = [[p for p in path.replace("!/", "/").split("/")[:-1] if p.casefold() not in SETS] for path in images]
    levels = class_levels(parts)
    if not levels:
        return None
    sets = any(part.casefold() in SETS for path in images for part in path.split("/")[:-1])
    names, *others = levels.values()
    found = Found({"kind": "folders", "codes": {}, "sets": "keep" if sets else "ignore"})
    found.reader |= {"group": None, "ungrouped": "refuse"}
    found.classes, found.reader["codes"] = classes(names)
    found.said["reader"] = f"{folded(names[names != '']).nunique()} folders of images, by name the classes"
    for other in others:
        kinds = other[other != ""].value_counts()
        some = ", ".join(f"{name} ({count})" for name, count in kinds[:4].items())
        found.questions.append(f"classes: {len(kinds)} other folders may be the classes: {some}")
    return found


def _mask_values(archive: Archive, files: Files, named: pd.Series, found: Found) -> dict[str, list[int | str]]:
    """What these masks mark (`masks.proposed`), with the questions in `found`."""
    values, questions = masks.proposed(archive, [path for name in named for path in files.find(str(name))[:1]])
    found.questions += questions
    return values
