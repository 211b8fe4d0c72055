"""From an archive to its manifest: every file decoded once, and what cannot be used in quarantine with the reason."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from medpipe.data import mask_files
from medpipe.data.archive import Archive
from medpipe.data.chunks import in_chunks
from medpipe.data.declared import check_rows, mask_label
from medpipe.data.duplicates import BLANK, DIGITS, hashes
from medpipe.data.images import decode, digest, most_bytes
from medpipe.data.parts import parted_rows
from medpipe.data.readers import reader_module
from medpipe.data.rows import ROWLESS, Problem, Rows
from medpipe.data.vocabulary import COLUMNS
from medpipe.errors import InputError, Unreadable
from medpipe.params import Declaration, Ingest

FACTS = ["id", "sha256", "bytes", "width", "height", "phash", "label", "mask_sha256"]  # that a file tells
FEW = 3  # images lost for one reason, above which it is said loudly


class QuarantineError(InputError):
    """More images in quarantine than allowed; `quarantine` is the whole report (id, path, reason)."""

    def __init__(self, message: str, quarantine: pd.DataFrame) -> None:
        super().__init__(message)
        self.quarantine = quarantine


class Ingested(NamedTuple):
    manifest: pd.DataFrame  # a row an accepted image (COLUMNS, then the task's metadata), sorted by id
    quarantine: pd.DataFrame  # id, path, reason of the rest
    notes: tuple[str, ...]  # what was passed over of the archive's tables and files


def build_manifest(name: str, task: Declaration, settings: Ingest) -> Ingested:
    """Read the archive of the task called `name`.

    Raises InputError where the archive as a whole cannot be read, QuarantineError where more than
    `settings.max_quarantined` of its images cannot; of an image without a row nothing was wanted.
    """
    if not Path(task.archive).is_absolute():
        _check_tracked(task.archive, name)
    archive = Archive(task.archive)
    listed = reader_module(task.reader.kind).read_rows(archive, task)
    rows = check_rows(archive, parted_rows(archive, listed, task, settings.max_pixels), task)
    table = rows.table.sort_values("id", ignore_index=True)
    wanted = table.assign(marked=table.get("marked", ""))[["id", "path", "mask_path", "label", "marked"]]
    work = partial(_inspect, task=task, max_pixels=settings.max_pixels)
    found = in_chunks(archive, wanted, work, f"ingest {name}")
    facts = pd.concat([part for part, _ in found if len(part)] or [pd.DataFrame(columns=FACTS)], ignore_index=True)
    problems = [problem for _, some in found for problem in some]
    table = table.drop(columns="label").merge(facts, on="id")
    table, copies = _without_copies(table)
    known = (*COLUMNS, *(column for column in table if column not in (*COLUMNS, "marked")))
    manifest = table[[*known]]
    quarantine = pd.DataFrame(sorted([*rows.problems, *problems, *copies]), columns=list(Problem._fields), dtype=str)
    _check_share(archive, len(manifest), quarantine, settings.max_quarantined)
    return Ingested(manifest, quarantine, (*rows.notes, *_passed_over(archive, listed), *archive.others()))


def summary(ingested: Ingested) -> list[str]:
    """The report's lines: how many images there are, what was passed over, and a line a kind of reason, the commonest
    first. More than FEW of a kind are a WARNING: a fault of the archive or of its reading, and not of single files."""
    manifest, quarantine, notes = ingested
    wanted, rowless = _wanted(quarantine)
    lines = [f"{len(manifest)} images, {len(wanted)} in quarantine"]
    if len(rowless):
        lines.append(f"{len(rowless)} images that no row names are left out, such as {rowless['path'].iloc[0]}")
    lines += [f"note: {note}" for note in notes]
    return lines + [f"{'WARNING: ' if count > FEW else ''}{line}" for count, line in _kinds(wanted)]


def _passed_over(archive: Archive, listed: Rows) -> list[str]:
    """What to say of images that a reader gives no row, as a mask or a problem neither."""
    named = {
        *listed.table["path"],
        *mask_files.all_of(listed.table["mask_path"]),
        *(problem.path for problem in listed.problems),
    }
    rest = [name for name in archive.images() if name not in named]
    if not rest:
        return []
    return [f"{len(rest)} images are passed over, as copies or outside of the reader's folders, such as {rest[0]}"]


def _wanted(quarantine: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the archive's tables and folders want and cannot be used, and images that no row names: those of another
    part of a data set, whose table is of one.
    """
    rowless = quarantine["reason"] == ROWLESS
    return quarantine[~rowless], quarantine[rowless]


def _kinds(quarantine: pd.DataFrame) -> list[tuple[int, str]]:
    """(rows, what to say of them) of each kind of reason, the commonest first."""
    kinds = Counter(reason.split(":")[0] for reason in quarantine["reason"])
    lines = []
    for kind, count in kinds.most_common():
        id_, path, reason = next(row for row in quarantine.to_numpy().tolist() if row[2].split(":")[0] == kind)
        lines.append((count, f"{count} in quarantine for {kind!r}, such as {path or id_ or 'a row'}: {reason}"))
    return lines


def _check_tracked(path: str, task: str) -> None:
    """DVC runs experiments in copies of the repository, which hold what git or DVC tracks; without git, none."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import NoSCM

    try:
        # Under DVC's lock, for which it waits: it reads dvc.lock, which the DVC of another stage may be writing.
        with Repo(_wait_for_lock=True) as repo, repo.lock:
            place = repo.fs.abspath(path)
            if isinstance(repo.scm, NoSCM):
                return
            if repo.scm.is_tracked(place) or any(repo.fs.isin_or_eq(place, out.fs_path) for out in repo.index.outs):
                return
    except NotDvcRepoError:
        return
    raise InputError(
        f"tasks.{task}.archive: {path!r} is relative, and neither git nor DVC tracks it: experiments run in copies of "
        f"the repository, which would lack it. Write {place!r}, or `dvc add` the archive"
    )


def _inspect(
    archive: Archive, rows: pd.DataFrame, *, task: Declaration, max_pixels: int
) -> tuple[pd.DataFrame, list[Problem]]:
    """Facts about each file (a row an id), and problems."""
    found, problems = [], []
    listed: list[tuple[str, str, str, str, str]] = list(rows.itertuples(index=False, name=None))
    for row in listed:
        try:
            found.append(_facts(archive, task, *row, max_pixels))
        except Unreadable as error:
            problems.append(Problem(row[0], error.name, error.reason))
    return pd.DataFrame(found, columns=FACTS), problems


def _facts(
    archive: Archive, task: Declaration, id_: str, path: str, mask_path: str, label: str, marked: str, max_pixels: int
) -> dict[str, Any]:
    data = archive.read(path, limit=most_bytes(path, max_pixels, task.decoding))
    image = decode(data, name=path, max_pixels=max_pixels, decoding=task.decoding)
    masks = mask_files.read(archive, mask_path, max_pixels, task.decoding)
    if masks:
        mask = mask_files.decode(masks, max_pixels, task.decoding)
        shown = mask_label(mask, image, task, name=masks[0][0], marked=marked)
        label = label or shown
    return {
        "id": id_,
        "sha256": digest(data, path),
        "bytes": len(data),
        "width": image.width,
        "height": image.height,
        "phash": hashes(image),
        "label": label,
        "mask_sha256": mask_files.digest(masks) if masks else "",
    }


def _without_copies(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Of byte-identical images all go where their labels differ, and all but the first of a group where they do not.

    Copies in different groups stay: split merges such groups. It does not for blank ones, an MRI's slices beyond the
    head, so of these all but the first go.
    """
    problems = []
    for _, same in table[table["sha256"].duplicated(keep=False)].groupby("sha256"):
        if same["label"].nunique() > 1:
            listed = ", ".join(f"{i} {label}" for i, label in zip(same["id"], same["label"], strict=True))
            problems += [
                Problem(i, path, f"duplicated with another label: {listed}")
                for i, path in zip(same["id"], same["path"], strict=True)
            ]
            continue
        blank = int(same["phash"].iloc[0][:DIGITS], 16).bit_count() < BLANK
        first = same.groupby("sha256" if blank else "group")["id"].transform("first")
        for i, path, original in zip(same["id"], same["path"], first, strict=True):
            if i != original:
                problems.append(Problem(i, path, f"duplicated: the same bytes as {original}"))
    gone = {problem.id for problem in problems}
    return table[~table["id"].isin(gone)].reset_index(drop=True), problems


def _check_share(archive: Archive, accepted: int, quarantine: pd.DataFrame, allowed: float) -> None:
    wanted, _ = _wanted(quarantine)
    total = accepted + len(wanted)
    if accepted and len(wanted) <= allowed * total:
        return
    said = f"{len(wanted)} of {total} images quarantined, more than ingest.max_quarantined ({allowed:.0%})"
    kinds = "; ".join(line for _, line in _kinds(quarantine))
    raise QuarantineError(
        f"{archive.path}: {said if total else 'no row names an image that is there'}: {kinds}. "
        "The quarantine report lists them all; mend the archive or raise ingest.max_quarantined",
        quarantine,
    )
