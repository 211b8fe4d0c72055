"""The sets that an archive was published with, as a proposal for `split.by`."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from medpipe.data.split import SETS


def published_sets(table: pd.DataFrame, classes: Sequence[str]) -> tuple[Literal["group", "given"], list[str]]:
    """How these rows should be split, and what to say of it, `{name}` being the task's.

    `given` where train and test hold each class that is known, as validation does where there is one.
    """
    if "set" not in table or (table["set"] == "").all():
        return "group", []
    counts = table["set"].value_counts()
    named = [*(name for name in SETS if name in counts), *sorted({*counts.index} - {*SETS})]
    shown = ", ".join(f"{name or 'none'} {counts[name]}" for name in named)
    if lacking := _lacking(table, named, classes):
        said = f"all rows are dealt again, for the archive's own sets ({shown}) lack {', '.join(lacking)}"
        return "group", [f"check: split.{{name}}.by: {said}"]
    dealt = "" if "val" in counts else "; validation is dealt of the training rows"
    return "given", [
        f"decided: the archive's own sets are kept: {shown}{dealt}",
        f"choose: split.{{name}}.by: `given` keeps the published sets; {_leak(table)}; `group` deals all rows again, "
        "so that no patient is on both sides",
    ]


def _lacking(table: pd.DataFrame, named: Sequence[str], classes: Sequence[str]) -> list[str]:
    lacking = [f"the set {name}" for name in ("train", "test") if name not in named]
    if {*named} - {*SETS}:
        lacking.append("one of train, val and test for each image")
    known = table[table["label"] != ""]  # masks tell the others
    for name in named if len(known) else ():
        groups = known[known["set"] == name].groupby("label")["group"].nunique().reindex([*classes], fill_value=0)
        least = 2 if name == "train" and "val" not in named else 1
        lacking += [f"{label} in {name or 'none'}" for label, count in groups.items() if count < least]
    return lacking


def _leak(table: pd.DataFrame) -> str:
    grouped, test = table["grouped"].astype(bool), table["set"] == "test"
    train = {*table.loc[(table["set"] == "train") & grouped, "group"]}
    if leak := int((table["group"].isin(train) & grouped & test).sum()):
        return f"{leak} of {test.sum()} test images are of a patient or lesion that trains too"
    return "no patient trains and tests" if grouped.all() else "whether a patient trains and tests is not known"
