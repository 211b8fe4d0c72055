"""What an archive that nobody has described seems to be: its reader, classes, groups and features. It only reads."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from medpipe.data.archive import Archive, stem
from medpipe.data.formats import READ
from medpipe.data.readers.folders import SETS
from medpipe.data.tables import folded
from medpipe.errors import InputError
from medpipe.planning import layouts
from medpipe.planning.columns import classes, features
from medpipe.planning.found import Asked, Found
from medpipe.planning.groups import tables
from medpipe.planning.levels import class_levels
from medpipe.planning.tabled import doubts, propose_table, unused_tables


def look(archive: Archive, asked: Asked) -> Found:
    """The first of these that fits: a published archive, an ISIC export, a table, pairs of image and mask, folders.

    Raises InputError that says what is there where none does, and what to say where a person has to choose.
    """
    images = archive.images()
    if not images:
        raise InputError(
            f"{archive.path}: holds no images that can be read ({READ}); "
            f"{'; '.join(archive.others())}{_instead(archive)}"
        )
    found = _first(archive, images, asked)
    if found is None:
        folders = Counter(path.rpartition("/")[0] for path in images).most_common(5)
        raise InputError(
            f"{archive.path}: {len(images)} images, but neither folders of classes, a table that names them, nor "
            f"masks. Images lie in: {', '.join(f'{name or chr(46)} ({count})' for name, count in folders)}"
            f"{_instead(archive)}"
        )
    if asked.kind is not None:
        if (asked.kind == "classify") != (found.mask_values is None):
            there = (
                "no masks were found" if found.mask_values is None else "there are masks, and no classes without them"
            )
            raise InputError(f"KIND={asked.kind}: {there}")
        found.kind = asked.kind
    if asked.group is not None and found.reader.get("group") != {"column": asked.group}:
        if "group" not in found.reader:
            raise InputError(f"GROUP={asked.group}: the reader {found.reader['kind']} knows the groups itself")
        found.reader["group"], found.said["group"] = asked.group_of(), "as asked for"
    return found


def _first(archive: Archive, images: Sequence[str], asked: Asked) -> Found | None:
    of_columns = (asked.label, asked.image, asked.mask)
    if not any(of_columns):
        for find in (_published, _isic):
            if (found := find(archive, images)) is not None:
                return found
    found = propose_table(archive, images, asked, lambda: _folders(archive, images))
    if found is not None:
        return found
    if any(of_columns):
        raise InputError(f"{archive.path}: no table names images, so that it has no columns; {unused_tables(archive)}")
    for find in (_pairs, _folders) if asked.kind != "classify" else (_folders,):
        if (found := find(archive, images)) is not None:
            if said := unused_tables(archive):
                found.said["tables"] = f"not used: {said}"
            return found
    return None


def _instead(archive: Archive) -> str:
    """What could be done with what an archive holds in place of classes and masks; '' where nothing is known."""
    endings = Counter(name.rpartition(".")[2].lower() for name in archive.names())
    said = []
    if any(name.lower().endswith(".json") and b"annotations" in archive.beginning(name)[1] for name in archive.names()):
        said.append("COCO's JSON marks boxes and outlines: draw masks of the outlines, or name each image's class")
    if endings["txt"] and any("labels/" in name for name in archive.names()):
        said.append(
            "text files under labels/ are YOLO's boxes, which no task learns: write a table with a class an image"
        )
    if endings["npz"] or endings["npy"]:
        said.append(".npz and .npy hold arrays: save each image as PNG in a folder of its class")
    if sum(endings[kind] for kind in ("mp4", "avi", "mov", "mkv", "wmv")):
        said.append("videos are not read: save frames as PNG, in a folder or under a name of the patient")
    return "".join(f". {line[0].upper()}{line[1:]}" for line in said)


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
            found.questions += doubts(table[column])
            found.features, columns = features(
                table, {"isic_id", "patient_id", "lesion_id", column}, table[column], found.questions
            )
            renamed = {"age_approx": "age", "anatom_site_general": "localization"}
            found.features = {renamed.get(k, k): v for k, v in found.features.items() if columns[k] == k}
            found.said["reader"] = f"{name} is an export of the ISIC archive; the label is its {column}"
            return found
    return None


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
    found.take_masks(archive, pairing.files)
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
