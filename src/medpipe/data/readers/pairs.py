"""Images and their masks: in two folders, or beside each other."""

import re

import pandas as pd

from medpipe.data import mask_files
from medpipe.data.archive import Archive
from medpipe.data.readers.folders import SETS
from medpipe.data.rows import Problem, Rows, distinct, without_copies
from medpipe.data.tables import folded, grouped, ids_of, without_ending
from medpipe.errors import InputError
from medpipe.params import Declaration, Pairs

ABBREVIATED = SETS | {"tr": "train", "ts": "test"}  # as in imagesTr


def read_rows(archive: Archive, task: Declaration) -> Rows:
    """A row an image that has a mask, or several, which are united; of the class and set that its path names.

    An image without mask and a mask without image are problems, as is an image of another class. Raises InputError
    where no image has a mask.
    """
    reader = task.reader
    assert isinstance(reader, Pairs)
    images, masks = re.compile(reader.images), re.compile(reader.masks)
    named: dict[str, dict[str, re.Match[str]]] = {"image": {}, "mask": {}}
    for path in archive.images():
        name = without_ending(path)
        if found := masks.fullmatch(name):
            named["mask"][path] = found
        elif found := images.fullmatch(name):
            named["image"][path] = found
    keys = {path: _key(found, masks) for what in named.values() for path, found in what.items()}
    image_of, conflicts = distinct(archive, named["image"], keys.__getitem__)
    masks_of: dict[str, list[str]] = {}
    for path in without_copies(archive, named["mask"], keys.__getitem__):
        masks_of.setdefault(keys[path], []).append(path)
    both = [key for key in image_of if key in masks_of]
    if not both:
        raise InputError(
            f"{archive.path}: no image has a mask: of {len(archive.images())} images {len(image_of)} match "
            f"reader.images, {reader.images!r}, and {len(named['mask'])} match reader.masks, {reader.masks!r}"
        )
    done = {problem.id for problem in conflicts}
    problems = [problem._replace(id=without_ending(problem.path)) for problem in conflicts]
    problems += [Problem(without_ending(p), p, "image without mask") for k, p in image_of.items() if k not in masks_of]
    problems += [
        Problem(without_ending(path), path, "mask without image")
        for key, paths in masks_of.items()
        for path in paths
        if key not in image_of and key not in done
    ]
    paths = [image_of[key] for key in both]
    table = pd.DataFrame({"path": paths, "mask_path": [mask_files.joined(masks_of[key]) for key in both], "label": ""})
    table["id"] = ids_of(table["path"])
    for group in images.groupindex:
        table[group] = [named["image"][path][group] or "" for path in paths]
    if "set" in images.groupindex:
        table["set"] = folded(table["set"]).map(lambda name: ABBREVIATED.get(name, name))
    if "label" in images.groupindex:
        known = {name: name for name in task.classes} | reader.codes
        table["label"] = folded(table["label"]).map(dict(zip(folded(pd.Series([*known])), known.values(), strict=True)))
        wrong = table["label"].isna()
        problems += [
            Problem(row["id"], row["path"], f"no class in its path: one of {', '.join(task.classes)} wanted")
            for _, row in table[wrong].iterrows()
        ]
        table = table[~wrong]
    table, notes = grouped(archive, table, reader.group)
    return Rows(table.assign(source="unknown"), problems, tuple(notes))


def _key(found: re.Match[str], masks: re.Pattern[str]) -> str:
    """What tells an image and its mask from others: all groups without a name, then those that masks name too."""
    names = {place: name for name, place in found.re.groupindex.items()}
    unnamed = [text or "" for place, text in enumerate(found.groups(), 1) if place not in names]
    return "\0".join([*unnamed, *(found[name] or "" for name in sorted(masks.groupindex))])
