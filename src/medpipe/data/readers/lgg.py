"""LGG MRI segmentation: slices of brains with lower-grade glioma, and their masks.

Buda, Saha, Mazurowski, doi 10.1016/j.compbiomed.2019.05.002. A slice's label follows from its mask.
"""

import re

import pandas as pd

from medpipe.data.archive import Archive, stem
from medpipe.data.missing import blanked
from medpipe.data.rows import ROWLESS, Problem, Rows, distinct, read_table, single_rows
from medpipe.errors import InputError
from medpipe.params import Declaration

NAME = re.compile(r"(?P<patient>TCGA_(?P<site>[^_]+)_[^_]+)_\d{8}_(?P<slice>\d+)")
LISTING = ("image_path", "mask_path", "mask")


def read_rows(archive: Archive, task: Declaration) -> Rows:
    """A row a slice, of `<patient>_<date>_<k>.tif` and `..._mask.tif`; `marked` is what data_mask.csv says of the mask,
    '' where it says nothing.

    Raises InputError for an archive without slices.
    """
    files, problems = distinct(archive, archive.images(), stem)
    if not files and not problems:
        raise InputError(f"{archive.path}: holds no images; it must hold kaggle_3m/<patient>/<slice>.tif")
    done = {problem.id for problem in problems}
    rows = []
    for name, path in files.items():
        slice_name = name.removesuffix("_mask")
        match = NAME.fullmatch(slice_name)
        if match is None:
            problems.append(Problem(name, path, "name: TCGA_<site>_<patient>_<date>_<slice>.tif wanted"))
        elif name != slice_name:
            if slice_name not in files and slice_name not in done:
                problems.append(Problem(name, path, "mask without image"))
        elif (mask := files.get(f"{name}_mask")) is None:
            problems.append(Problem(name, path, "image without mask"))
        else:
            rows.append(
                {
                    "id": name,
                    "path": path,
                    "label": "",
                    "marked": "",
                    "group": match["patient"],
                    "source": match["site"],
                }
                | {"mask_path": mask, "patient": match["patient"], "slice": int(match["slice"]), "site": match["site"]}
            )
    columns = ["id", "path", "label", "marked", "group", "source", "mask_path", "patient", "slice", "site"]
    table = pd.DataFrame(rows, columns=columns)
    listings, conflicts = distinct(archive, [n for n in archive.names() if n.split("/")[-1] == "data_mask.csv"], stem)
    if conflicts:
        raise InputError(f"{archive.path}: {', '.join(c.path for c in conflicts)} differ; keep one of them")
    notes: list[str] = []
    for listing in listings.values():
        table, more, notes = _listed(table, archive, listing, {problem.id for problem in problems})
        problems += more
    return Rows(table, problems, tuple(notes))


def _listed(
    table: pd.DataFrame, archive: Archive, name: str, done: set[str]
) -> tuple[pd.DataFrame, list[Problem], list[str]]:
    """`table` with data_mask.csv's `mask` as `marked`, less the rows at odds with it, which are problems;
    and what was passed over.

    The path says whose slice it is. The public file's `patient_id` is mostly another patient's, and is not used. Paths
    are of whatever machine made the listing: they are compared with the archive's own, and never opened.
    """
    listed = (
        read_table(archive, name, LISTING)
        .apply(blanked)
        .replace({"image_path": r"\\", "mask_path": r"\\"}, "/", regex=True)
    )
    notes = _at_odds(listed, name)
    listed = listed[[*LISTING]]
    listed, problems = single_rows(listed.assign(id=listed["image_path"].map(stem)))
    done = done | {problem.id for problem in problems}
    paths = dict(zip(table["id"], zip(table["path"], table["mask_path"], strict=True), strict=True))
    marked = {}
    for _, row in listed.iterrows():
        slice_name, reason = row["id"], ""
        if slice_name not in paths:
            reason = "row without image"
        elif not _ends(paths[slice_name][0], row["image_path"]):
            reason = f"data_mask.csv: {row['image_path']!r} is not where the image lies"
        elif not _ends(paths[slice_name][1], row["mask_path"]):
            reason = f"data_mask.csv: {row['mask_path']!r} is not the image's mask"
        elif row["mask"] not in ("", "0", "1"):
            reason = f"data_mask.csv: mask is {row['mask']!r}, 0 or 1 wanted"
        if not reason:
            marked[slice_name] = row["mask"]
        elif slice_name not in done:
            problems.append(Problem(slice_name, "", reason))
    done |= {problem.id for problem in problems}
    left = table[~table["id"].isin(marked.keys() | done)]
    problems += [Problem(i, path, ROWLESS) for i, path in zip(left["id"], left["path"], strict=True)]
    kept = table[table["id"].isin(marked)]
    return kept.assign(marked=kept["id"].map(marked)), problems, notes


def _at_odds(listed: pd.DataFrame, name: str) -> list[str]:
    """What to say of a `patient_id` that is not the path's."""
    if "patient_id" not in listed:
        return []
    others = [
        bool(patient) and not stem(path).startswith(f"{patient}_")
        for patient, path in zip(listed["patient_id"], listed["image_path"], strict=True)
    ]
    if not any(others):
        return []
    return [
        f"{name}: patient_id is another patient's than the path's in {sum(others)} of {len(others)} rows; the column "
        "was passed over, the path says the patient"
    ]


def _ends(path: str, listed: str) -> bool:
    """Whether both end in the same folder and file; releases differ in the folders above."""
    return path.split("/")[-2:] == listed.split("/")[-2:]
