"""HAM10000 and the ISIC-2018 test set: dermatoscopic images of seven kinds of pigmented lesion.

Tschandl, Rosendahl, Kittler, doi 10.1038/sdata.2018.161. The test set (1,512 images) is external.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from medpipe.data.archive import Archive, stem
from medpipe.data.missing import blanked
from medpipe.data.rows import Problem, Rows, attach, distinct, read_table, single_rows
from medpipe.errors import InputError
from medpipe.params import Declaration

METADATA = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
TEST = "isic2018_task3_test"
EXTERNAL = "isic2018"  # the test set's source


def read_rows(archive: Archive, task: Declaration) -> Rows:
    """The metadata's rows with their images, or with rows of the pixel table where there are no images; then those of
    the test set. Raises InputError where tables are missing, ambiguous or at odds with each other."""
    # Dataverse ships the lesions' outlines beside the images: ISIC_0024306_segmentation.png
    names = [name for name in archive.names() if "segmentation" not in name.lower()]
    test = {name for name in names if any(part.lower().startswith(TEST) for part in name.split("/"))}
    images = set(archive.images()).intersection(names)

    listing = _table(archive, names, "HAM10000_metadata")
    if listing is None:
        raise InputError(f"{archive.path}: lacks HAM10000_metadata.csv; put it beside the images")
    table, problems = single_rows(_metadata(read_table(archive, listing, METADATA), "ham10000"))
    if images - test:
        files, conflicts = distinct(archive, sorted(images - test), stem)
        table, unmatched = attach(table, files, [*problems, *conflicts])
        problems += conflicts + unmatched
    else:
        table = _attach_pixels(archive, names, listing, table, task.classes)

    truth = _table(archive, names, "ISIC2018_Task3_Test_GroundTruth")
    if truth is not None or images & test:
        external, more = _test_rows(archive, truth, task.classes)
        files, conflicts = distinct(archive, sorted(images & test), stem)
        external, unmatched = attach(external, files, [*more, *conflicts])
        problems += more + conflicts + unmatched
        table = pd.concat([table, external], ignore_index=True)
        both = table["id"].duplicated(keep=False)
        problems += _problems(table[both], "duplicate id: both in HAM10000 and in the test set")
        table = table[~both]
    return Rows(table.assign(mask_path=""), problems, sources=(EXTERNAL,))


def _table(archive: Archive, names: list[str], title: str) -> str | None:
    """The one table of that name, whatever its ending (Dataverse names it .tab)."""
    tables = [n for n in names if stem(n) == title and PurePosixPath(n).suffix in ("", ".csv", ".tab", ".tsv")]
    found, problems = distinct(archive, tables, stem)
    if problems:
        raise InputError(f"{archive.path}: {', '.join(tables)} differ; keep one of them")
    return found.get(title)


def _metadata(table: pd.DataFrame, source: str) -> pd.DataFrame:
    ids = table[["image_id", "lesion_id"]].apply(blanked)
    return pd.DataFrame(
        {"id": ids["image_id"], "label": table["dx"], "group": ids["lesion_id"], "source": source}
        | {name: table[name] for name in METADATA[3:]}
    )


def _attach_pixels(
    archive: Archive, names: list[str], listing: str, table: pd.DataFrame, classes: Sequence[str]
) -> pd.DataFrame:
    """Rows of hmnist_28_28_RGB.csv, which are in the metadata's order; `table.index` counts the metadata's rows."""
    found, problems = distinct(archive, [n for n in names if n.endswith("hmnist_28_28_RGB.csv")], stem)
    if not found:
        raise InputError(f"{archive.path}: holds neither images nor one hmnist_28_28_RGB.csv; download it again")
    if problems:
        raise InputError(f"{archive.path}: {', '.join(problem.path for problem in problems)} differ; keep one of them")
    [pixels] = found.values()
    codes = [line.rpartition(b",")[2].decode("ascii", "replace").strip() for line in archive.pixel_rows(pixels)]
    rows = len(read_table(archive, listing, METADATA))
    if len(codes) != rows:
        raise InputError(f"{pixels}: {len(codes)} rows, but {listing} has {rows}; both must be of one release")
    # Nothing in the pixel table names its image. That each code stands for one class shows that the order holds.
    code = pd.Series(codes).loc[table.index]
    pairs = pd.DataFrame({"code": code, "label": table["label"]})[table["label"].isin(classes)]
    for key, other in (("code", "label"), ("label", "code")):
        if (mixed := pairs.groupby(key)[other].nunique()).gt(1).any():
            raise InputError(
                f"{pixels}: {key} {mixed.idxmax()!r} stands for several of {listing}'s {other}s; its rows must be in "
                "the metadata's order"
            )
    return table.assign(path=[f"{pixels}#{row}" for row in table.index])


def _test_rows(archive: Archive, truth: str | None, classes: Sequence[str]) -> tuple[pd.DataFrame, list[Problem]]:
    """One-hot columns as ISIC publishes them, or the metadata's own columns as Dataverse does."""
    if truth is None:
        raise InputError(f"{archive.path}: has the test set's images without ISIC2018_Task3_Test_GroundTruth.csv")
    if "dx" in (table := read_table(archive, truth, ())):
        return single_rows(_metadata(read_table(archive, truth, METADATA), EXTERNAL))
    columns = [name.upper() for name in classes]
    table = read_table(archive, truth, ("image", *columns))
    hot = table[columns].apply(pd.to_numeric, errors="coerce")
    single = hot.isin([0, 1]).all(axis=1) & (hot.sum(axis=1) == 1)
    rows = pd.DataFrame(
        {"id": table["image"], "label": hot.fillna(0).idxmax(axis=1).str.lower(), "group": table["image"]}
        | {"source": EXTERNAL, **dict.fromkeys(METADATA[3:], "")}
    )
    problems = _problems(rows[~single], "one-hot row: exactly one 1 among the classes wanted")
    rows, repeated = single_rows(rows[single])
    return rows, problems + repeated


def _problems(table: pd.DataFrame, reason: str) -> list[Problem]:
    paths = table["path"] if "path" in table else [""] * len(table)
    return [Problem(i, path, reason) for i, path in zip(table["id"], paths, strict=True)]
