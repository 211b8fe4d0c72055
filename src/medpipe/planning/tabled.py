"""An archive whose images a table names: which table, which of its columns, and what they say."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from medpipe.data.archive import Archive, stem
from medpipe.data.images import decode_mask
from medpipe.data.tables import TABLES, Files, read_any
from medpipe.errors import InputError
from medpipe.params import Decoding
from medpipe.planning.columns import class_name, classes, doubtful, features, kinds
from medpipe.planning.found import Asked, Found
from medpipe.planning.groups import GROUPS, SAMPLE, called, id_columns, tables
from medpipe.planning.labels import LABELS, choose_label
from medpipe.planning.masks import MOST

SOURCES = ("source", "site", "hospital", "centre", "center", "institution", "scanner", "device", "camera", "dataset")
_MASK = re.compile(r"mask|seg|annotation|ground.?truth", re.IGNORECASE)
_LATER = re.compile(r"test", re.IGNORECASE)  # tables that seldom tell labels
_BOXES = frozenset({"x", "y", "w", "h", "xmin", "xmax", "ymin", "ymax", "bbox", "x_min", "x_max", "y_min", "y_max"})
_FILES = 5  # that are opened to see whether a column names masks
_AS_IS = Decoding(window=None, frames="split", axis=2, context=0, max_voxels=10**9)


class _Listing(NamedTuple):
    name: str
    image: str  # the column that names images
    hits: float  # share of its values that name one
    named: float  # share of its values with an ending, which a number that some image is called by has not
    single: bool  # a row an image
    table: pd.DataFrame


def propose_table(
    archive: Archive, images: Sequence[str], asked: Asked, folders: Callable[[], Found | None]
) -> Found | None:
    """None where no table names images, or no column of it can be the label. `folders` proposes by folders alone.

    Raises InputError where a person has to say which column is the label or the image, and for several rows an image.
    """
    files = Files(images, "")
    listings = sorted(_listings(archive, files, asked), key=lambda one: _LATER.search(stem(one.name)) is not None)
    single = [one for one in listings if one.single]
    if listings and not single:
        one = listings[0]
        held = sorted(_BOXES.intersection(str(column).casefold() for column in one.table))
        said = f"boxes ({', '.join(held)}), which no task learns" if held else "boxes, findings or readers"
        raise InputError(
            f"{archive.path}: {one.name} has several rows an image in its column {one.image}, such as of {said}; write "
            "a table with a row an image, or masks"
        )
    found, failure = None, None
    for one in sorted(single, key=lambda one: (not called(one.table, LABELS), _LATER.search(one.name) is not None)):
        try:
            found = _found(archive, files, one, asked, folders)
        except InputError as error:
            failure = failure or error
        if found is not None:
            return found
    if failure is not None:
        raise failure
    return None


def unused_tables(archive: Archive) -> str:
    """The tables of an archive that is not planned by one, with the reason; '' where there is none."""
    reasons = []
    for name in archive.names():
        if name.lower().endswith(TABLES):
            try:
                read_any(archive, name, ())
                reasons.append(f"{name} (no column names images)")
            except InputError as error:
                reasons.append(str(error))
    return "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")


def _listings(archive: Archive, files: Files, asked: Asked) -> list[_Listing]:
    """Of each table the column that names most images."""
    found = []
    for name, table in tables(archive):
        if "submission" in name.casefold():  # of a competition, whose labels are an example
            continue
        of_table = []
        for column in map(str, table) if asked.image is None else [asked.image] if asked.image in table else ():
            values = table[column][table[column] != ""]
            hits = sum(_names_one(value, files) for value in values.head(SAMPLE)) / max(1, min(SAMPLE, len(values)))
            if hits > 0.8 and (asked.image or not _MASK.search(column)):
                named, single = values.str.contains(r"\.[A-Za-z]+$").mean(), values.nunique() > 0.9 * len(values)
                of_table.append(_Listing(name, column, hits, named, single, table))
        found += sorted(of_table, key=lambda one: (not one.single, -one.hits, -one.named))[:1]
    if asked.image is not None and not found:
        raise InputError(f"IMAGE={asked.image}: no table of {archive.path} has such a column that names images")
    return found


def _names_one(value: str, files: Files) -> bool:
    """Whether the value names a file: a bare number one alone, for images of each class may be numbered from 1 on."""
    found = files.find(value)
    return len(found) == 1 or (len(found) > 1 and not value.isdigit())


def _found(
    archive: Archive, files: Files, one: _Listing, asked: Asked, folders: Callable[[], Found | None]
) -> Found | None:
    table = one.table
    mask = _mask_column(archive, files, one, asked)
    reader: dict[str, Any] = {"kind": "table", "file": one.name, "images": "", "image": one.image, "mask": mask}
    found = Found(reader, said={"reader": f"{one.name} names {len(table)} images in its column {one.image}"})
    ids, source = called(table, GROUPS), next(iter(called(table, SOURCES)), None)
    groups = id_columns(table) if asked.group is None else [asked.group] if asked.group in table else []
    if groups:
        found.said["group"] = f"the column {' and '.join(groups)}"
    sets = next(iter(called(table, ("split", "set", "subset"))), None)
    used = {one.image, *filter(None, [mask])}
    others = {*used, *groups, *filter(None, [source, sets])} - {asked.label}
    label: str | list[str] | None = None
    by_folders = None
    if asked.label is None and not any(called(table.drop(columns=[*others]), LABELS)) and mask is None:
        by_folders = folders()
    if by_folders is None and (mask is None or asked.label or called(table.drop(columns=[*others]), LABELS)):
        label = choose_label(table, one.name, others, asked.label)
    values: pd.Series | None = None
    if isinstance(label, list):
        reader |= {"label": {class_name(c): c for c in label}, "codes": {}}
        found.classes, used = [class_name(c) for c in label], used | {*label}
        places = table[label].astype(float).to_numpy().argmax(axis=1)
        values = pd.Series(np.array(found.classes)[places], index=table.index)
    elif label is not None:
        values, used = table[label], used | {label}
        found.classes, codes = classes(values)
        found.questions += doubts(values)
        reader |= {"label": label, "codes": codes}
        found.said["label"] = f"the column {label}, of {kinds(values)} classes"
    elif by_folders is not None:
        found.classes = by_folders.classes
        reader |= {"label": None, "codes": by_folders.reader["codes"]}
        found.said["label"] = "the folder that an image lies in is its class"
    elif mask:
        reader |= {"label": None, "codes": {}}
        found.classes = ["unmarked", "marked"]
    else:
        return None
    if mask:
        found.kind = "both"
        found.take_masks(archive, [path for name in table[mask] for path in files.find(str(name))[:1]])
    if sets:
        found.questions.append(
            f"reader.set: the column {sets} is ignored and all rows are dealt again; name it to keep its sets"
        )
    reader |= {"source": source, "set": None, "ungrouped": "refuse"}
    reader["group"] = {"column": groups[0] if len(groups) == 1 else groups} if groups else None
    found.features, columns = features(table, used | {*ids, sets, source}, values, found.questions)
    reader["columns"] = {name: column for name, column in columns.items() if name != column}
    found.subgroups += [name for name in found.features if "values" in found.features[name]][:4]
    found.subgroups += [f"{name}_band" for name, feature in found.features.items() if feature.get("bands")]
    if source:
        found.subgroups.append("source")
        found.questions.append(f"reader.source: {source} says where images come from; a part of the body is a feature")
    return found


def doubts(labels: pd.Series) -> list[str]:
    """What to ask of labels that may stand for one that is not known."""
    words = doubtful(labels)
    return [f"classes: {words} count as classes; take out what stands for a label that is not known"] if words else []


def _mask_column(archive: Archive, files: Files, one: _Listing, asked: Asked) -> str | None:
    """The column that names masks. Raises InputError where another one names images too, and no masks."""
    if asked.mask is not None:
        if asked.mask not in one.table:
            raise InputError(
                f"MASK={asked.mask}: {one.name} has no such column; it has {', '.join(map(str, one.table))}"
            )
        return asked.mask
    own = {path for value in one.table[one.image] for path in files.find(value)[:1]}
    photographs = []
    for column in map(str, one.table):
        named = [path for value in one.table[column].head(SAMPLE) for path in files.find(value)[:1]]
        some = one.table[column].head(SAMPLE)
        if column == one.image or len(named) <= len(some) / 2 or one.table[column].nunique() <= len(one.table) / 2:
            continue
        if _MASK.search(column) or (own.isdisjoint(named) and _are_masks(archive, named)):
            return column
        if own.isdisjoint(named):
            photographs.append(column)
    if photographs and asked.image is None:
        columns = ", ".join(f"IMAGE={column}" for column in (one.image, *photographs))
        raise InputError(
            f"{one.name}: {len(photographs) + 1} columns name images; a row of a task is one image. Say {columns}; or "
            "write a table with a row an image, the patient or lesion in a column of its own, and both are read"
        )
    return None


def _are_masks(archive: Archive, paths: Sequence[str]) -> bool:
    """Whether some of the files hold few values each, as photographs do not."""
    held: set[int] = set()
    for path in paths[:: max(1, len(paths) // _FILES)][:_FILES]:
        with suppress(InputError):
            held |= {*decode_mask(archive.read(path), name=path, max_pixels=10**8, decoding=_AS_IS).held}
    return 0 < len(held) <= MOST
