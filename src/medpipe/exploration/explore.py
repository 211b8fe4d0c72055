"""A task's exploration: its facts, and what its plots need beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from medpipe.data.archive import Archive
from medpipe.exploration import facts, pixels
from medpipe.exploration.pixels import Look, Picture
from medpipe.params import Declaration, Explore

PAIRS = 6  # duplicates that are shown
SLICES = 8  # images with masks that are shown


@dataclass(frozen=True)
class Exploration:
    """`facts` is plain JSON; the rest is drawn."""

    facts: dict[str, Any]
    train: pd.DataFrame
    seen: Look
    images: list[Picture]
    masked: list[Picture]
    pairs: list[tuple[Picture, Picture]]
    equalised: list[tuple[Picture, Picture]]


def explore(
    manifest: pd.DataFrame,
    clean: pd.DataFrame,
    rows: pd.DataFrame,
    split: Mapping[str, Any],
    quarantine: pd.DataFrame,
    task: Declaration,
    archive: Archive,
    settings: Explore,
    max_pixels: int,
) -> Exploration:
    """All facts of a task, of its manifest, clean table, split (rows.parquet and split.json) and quarantine report.

    Images are opened of training rows alone: a sample for statistics, a few to show.
    """
    classes, marks = task.classes, list(task.marks or ())
    table = facts.joined(clean, rows)
    train = table[table["set"] == "train"].reset_index(drop=True)
    sampled = pixels.sample(train, settings.sample, settings.seed)
    seen = pixels.look(pixels.arrays(archive, sampled, max_pixels, task), len(marks))
    shown = pixels.examples(train, classes, settings.images_a_class, settings.seed)
    found = {
        "seed": settings.seed,
        **facts.class_counts(table, classes),
        "images": {"read": len(manifest), "kept": len(clean), "quarantined": len(quarantine)},
        "group_sizes": facts.group_sizes(table),
        "balance": {"ratio": settings.undersample}
        | facts.balance(train["label"], classes, settings.undersample, settings.seed),
        "missing": facts.missing(manifest),
        "numbers": facts.numbers_by_class(train, facts.numeric_columns(manifest), classes),
        "values": facts.values_by_class(table, facts.categorical_columns(table, task), classes),
        "channels": pixels.channel_facts(seen, classes),
        "masks": pixels.mask_facts(seen, marks),
        "duplicates": facts.duplicates(split, quarantine),
        "quarantine": facts.quarantined(quarantine),
    }
    grey = shown.drop_duplicates("label") if seen.grey.all() else shown[:0]
    return Exploration(
        facts=found,
        train=train,
        seen=seen,
        images=pixels.pictures(archive, shown, max_pixels, task),
        masked=pixels.pictures(archive, _marked(sampled, seen), max_pixels, task),
        pairs=_pairs(train, split, archive, max_pixels, task),
        equalised=pixels.equalised(archive, grey, max_pixels, task.decoding),
    )


def _marked(sampled: pd.DataFrame, seen: Look) -> pd.DataFrame:
    """Rows whose masks mark something, evenly from the smallest area to the largest."""
    if seen.area is None:
        return sampled[:0]
    area = seen.area.sum(axis=1)
    ranked = np.argsort(area, kind="stable")[int((area == 0).sum()) :]
    places = np.linspace(0, len(ranked) - 1, min(SLICES, len(ranked))).round().astype(int)
    return sampled.iloc[ranked[places]]


def _pairs(
    train: pd.DataFrame, split: Mapping[str, Any], archive: Archive, max_pixels: int, task: Declaration
) -> list[tuple[Picture, Picture]]:
    """The nearest of the duplicates that the split has merged, where both images train."""
    rows = train.set_index("id", drop=False)
    both = [pair["id"] for pair in split["merged"] if set(pair["id"]) <= set(rows.index)][:PAIRS]
    found = pixels.pictures(archive, rows.loc[[id_ for pair in both for id_ in pair]], max_pixels, task)
    return list(zip(found[::2], found[1::2], strict=True))
