"""Images and their masks: in two folders, or beside each other with a suffix."""

from functools import partial

import pandas as pd

from medpipe.data.archive import Archive
from medpipe.data.rows import Problem, Rows, distinct
from medpipe.data.tables import grouped, ids_of, without_ending
from medpipe.errors import InputError
from medpipe.params import Declaration, Pairs


def read_rows(archive: Archive, task: Declaration) -> Rows:
    """A row an image that has a mask; masks tell its class.

    An image without mask and a mask without image are problems. Raises InputError where no image has a mask.
    """
    reader = task.reader
    assert isinstance(reader, Pairs)
    images, masks = (name.strip("/") for name in (reader.images, reader.masks))
    of: dict[str, dict[str, str]] = {"image": {}, "mask": {}}
    problems: list[Problem] = []
    named: dict[str, list[str]] = {"image": [], "mask": []}
    for path in archive.images():
        name = without_ending(path)
        if _in(path, masks) and name.endswith(reader.suffix) and (reader.suffix or masks != images):
            named["mask"].append(path)
        elif _in(path, images):
            named["image"].append(path)

    def key(path: str, folder: str, suffix: str) -> str:
        return without_ending(path).removeprefix(f"{folder}/" if folder else "").removesuffix(suffix)

    for what, folder, suffix in (("image", images, ""), ("mask", masks, reader.suffix)):
        of[what], conflicts = distinct(archive, named[what], partial(key, folder=folder, suffix=suffix))
        problems += conflicts
    done = {problem.id for problem in problems}
    both = [name for name in of["image"] if name in of["mask"]]
    if not both:
        raise InputError(
            f"{archive.path}: no image has a mask: {len(of['image'])} images under {images or '.'!r}, "
            f"{len(of['mask'])} masks under {masks or '.'!r} with the suffix {reader.suffix!r}; correct reader"
        )
    for what, other in (("image", "mask"), ("mask", "image")):
        problems += [
            Problem(name, path, f"{what} without {other}")
            for name, path in of[what].items()
            if name not in of[other] and name not in done
        ]
    table = pd.DataFrame(
        {"path": [of["image"][name] for name in both], "mask_path": [of["mask"][name] for name in both], "label": ""}
    )
    table["id"] = ids_of(table["path"])
    table, notes = grouped(archive, table, reader.group)
    return Rows(table.assign(source="unknown"), problems, tuple(notes))


def _in(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")
