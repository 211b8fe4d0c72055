"""What an archive's rows say, against what the task declares."""

from dataclasses import replace

import pandas as pd
from PIL import Image

from medpipe.data import masks
from medpipe.data.archive import Archive
from medpipe.data.features import UNKNOWN, read_category
from medpipe.data.missing import is_missing
from medpipe.data.rows import Problem, Rows
from medpipe.errors import InputError, Unreadable
from medpipe.params import Declaration, Number

SHOWN = 3  # rows that a note names


def check_rows(archive: Archive, rows: Rows, task: Declaration) -> Rows:
    """The rows whose values training can read, numbers as numbers, unknown categories as such; the rest are
    problems.

    A row without a label takes it from its mask, later. One without a group where others have one is a problem, or a
    note, as the reader's `ungrouped` says. Raises InputError that names a column which the reader did not
    find, with those that it did, and for an `external` source of which no row is.
    """
    table = rows.table
    own = [name for name in dict.fromkeys((*task.features, *task.subgroups)) if name not in task.bands]
    if missing := [name for name in own if name not in table]:
        found = ", ".join(map(str, table))
        raise InputError(f"{archive.path}: has no column {', '.join(missing)}, which the task declares; found: {found}")
    if task.external is not None and task.external not in (known := {*table["source"], *rows.sources}):
        raise InputError(
            f"{archive.path}: no row is of the source {task.external!r}, which external names, and so the external "
            f"test set would train; there are: {', '.join(map(repr, sorted(known)[:10]))}"
        )
    parsed: dict[str, pd.Series] = {}
    masked = table["mask_path"].ne("")
    checks = [("unknown class", "label", ~(table["label"].isin(task.classes) | (table["label"].eq("") & masked)))]
    for name in own:
        match task.features.get(name):
            case Number(range=(low, high)):
                number = pd.to_numeric(table[name], errors="coerce").astype(float)
                checks.append((name, name, ~(number.between(low, high) | is_missing(table[name]))))
                parsed[name] = number
            case None:
                parsed[name] = table[name].replace("", UNKNOWN)
            case category:
                parsed[name] = read_category(table[name], category)
                checks.append((f"unknown {name}", name, ~parsed[name].isin((*category.values, UNKNOWN))))
    problems, bad = list(rows.problems), pd.Series(False, index=table.index)
    for kind, column, wrong in checks:
        for _, row in table[wrong & ~bad].iterrows():
            problems.append(Problem(row["id"], row["path"], f"{kind}: {row[column]!r}"))
        bad |= wrong
    alone, notes = ~table["grouped"].astype(bool) & ~bad, rows.notes
    if alone.any() and (task.reader.group is not None or table["grouped"].any()):
        if task.reader.ungrouped == "refuse":
            reason = "no group: nothing names its patient or lesion, as something does of others"
            problems += [Problem(row["id"], row["path"], reason) for _, row in table[alone].iterrows()]
            bad |= alone
        else:
            some = ", ".join(table.loc[alone, "id"][:SHOWN])
            notes += (f"{alone.sum()} of {(~bad).sum()} images have no group, such as {some}: each is one of its own",)
    return replace(rows, table=table.assign(**parsed)[~bad], problems=problems, notes=notes)


def mask_label(mask: masks.Mask, image: Image.Image, task: Declaration, *, name: str, marked: str) -> str:
    """The class that a mask tells: the second where any pixel is marked, else the first.

    `marked` is '1', '0' or '', what a listing says of the mask. Raises Unreadable for a mask of another size than its
    image, with other values than 0 and `mask_values`, also in other slices of its volume, and where `marked` says
    otherwise.
    """
    height, width = mask.values.shape
    if (width, height) != image.size:
        raise Unreadable(name, f"mask size: {width} x {height}, image {image.width} x {image.height}")
    known = [masks.number(value) for values in (task.mask_values or {}).values() for value in values]
    if others := sorted(set(mask.held) - {0, *known}):
        some, beside = (", ".join(map(masks.shown, values)) for values in (others[:10], sorted(known)))
        raise Unreadable(name, f"mask values: {some} beside 0 and {beside} (mask_values)")
    label = task.classes[bool(masks.marked(mask.values, task.marks or {}).any())]
    if marked not in ("", str(task.classes.index(label))):
        raise Unreadable(name, f"listing: says {task.classes[int(marked)]}, the mask {label}")
    return label
