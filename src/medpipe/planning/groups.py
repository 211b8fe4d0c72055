"""How an archive seems to name the patients or lesions of its images: proposals for `reader.group`."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from medpipe.data import dicom
from medpipe.data.archive import Archive
from medpipe.data.missing import blanked
from medpipe.data.tables import TABLES, Files, first_known, folded, read_any, without_ending
from medpipe.errors import InputError

GROUPS = (
    "patient_id", "patient_no", "patient_nr", "patient_number", "patient", "subject_id", "subject", "person_id", "mrn",
    "case_id", "case", "participant_id", "lesion_id", "lesion", "study_id", "volume",
)  # fmt: skip
SAMPLE = 60  # files that are opened
FEW = 5  # groups, of each class too, below which folders and names say something else than patients
MOST, WHOLE = 0.3, 0.7  # largest share of the images that a group has; groups an image, above which they tell nothing
SOME = 0.3  # of the groups of several images, share that has two in a folder and class; else numbers begin again there
MIXED = 1.5  # classes that a group has on average, from which on numbers may begin again in each class
SHAPES = 8  # kinds of file names, the most frequent, among which a pattern is looked for
NEARLY, RARE = 0.95, 0.01  # of the images: those that have to have a group; those of a kind that decides nothing
NO_GROUP = "none found: the same patient may be on both sides; a column or pattern that names the patient goes here"

_TOKEN, _APART = r"[^/ _.()-]", r"[ _.()-]"
_NUMBERED = rf"{_TOKEN}*\d{_TOKEN}*"
_EYE = rf"({_TOKEN}*\d)[LRlr]"  # 01L and 01R
_SLIDE = rf"(?:[A-Za-z]\d+[A-Za-z]?(?=P\d))?(P\d+|{_NUMBERED}){_TOKEN}*"  # C100P61ThinF, of patient 61


class Grouping(NamedTuple):
    """`group` as a reader has it, what was found, and `question`, '' where nothing is doubtful."""

    group: Any
    said: str
    question: str = ""


def propose(archive: Archive, table: pd.DataFrame, besides: str) -> Grouping:
    """The first that is there of ids in headers, another table than `besides` that names patients, folders, file names.

    `table`: a row an image, `path` and `label` ('' where only masks tell it).
    """
    for found in (of_headers(archive, table), _of_tables(archive, table, besides), of_folders(table), _of_names(table)):
        if found is not None:
            return found
    return Grouping(None, NO_GROUP)


def tables(archive: Archive) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables of more than one row that can be read, by name."""
    for name in archive.names():
        if name.lower().endswith(TABLES):
            with suppress(InputError):
                table, _ = read_any(archive, name, ())
                if len(table) > 1:
                    yield name, table


def called(table: pd.DataFrame, words: Sequence[str]) -> list[str]:
    """The columns that are called as `words`, in that order: `patient_id` is also Patient ID, PatientID, patient-id."""
    columns = {re.sub(r"[\W_]", "", str(column).casefold()): str(column) for column in table}
    return [columns[word] for word in (word.replace("_", "") for word in words) if word in columns]


def id_columns(table: pd.DataFrame) -> list[str]:
    """The columns that name a patient or lesion: the first of GROUPS that most rows have, and those of the others that
    name some of the rest and of which no value is of two such patients."""
    table = table.apply(blanked)
    known = [c for c in called(table, GROUPS) if (table[c] != "").mean() > 0.5]
    if not known:
        return []
    first, *others = known
    lacks = table[first] == ""
    return [first] + [
        column
        for column in others
        if (table.loc[lacks, column] != "").any()
        and table[~lacks & (table[column] != "")].groupby(column)[first].nunique().max() == 1
    ]


def of_headers(archive: Archive, table: pd.DataFrame) -> Grouping | None:
    """PatientID, or StudyInstanceUID where there are several of these and the PatientIDs are alike, of some files."""
    headers = []
    for path in table["path"][:: max(1, len(table) // SAMPLE)]:
        with suppress(InputError):
            if dicom.is_dicom(data := archive.read(path)):
                headers.append(dicom.header(data, name=path))
    patients, studies = ({getattr(header, name) for header in headers} - {""} for name in ("patient", "study"))
    if len(headers) < len(table["path"][:: max(1, len(table) // SAMPLE)]) / 2:
        return None
    if len(patients) > 1:
        return Grouping("dicom", "the PatientID of the files' headers")
    if len(studies) > 1:
        alike = f"all {next(iter(patients))}" if patients else "empty"
        return Grouping("study", f"the StudyInstanceUID of the files' headers, whose PatientIDs are {alike}")
    return None


def _of_tables(archive: Archive, table: pd.DataFrame, besides: str) -> Grouping | None:
    files = Files(table["path"], "")
    for name, listed in tables(archive):
        keys = id_columns(listed)
        for image in listed if keys and name != besides else ():
            hits = listed[image].map(files.find).str.len() == 1
            if image not in keys and hits.sum() > len(table) / 2:
                column: Any = keys[0] if len(keys) == 1 else keys
                said = f"the column {' and '.join(keys)} of {name}, whose {image} names images"
                return Grouping({"file": name, "image": str(image), "column": column}, said)
    return None


def of_folders(table: pd.DataFrame) -> Grouping | None:
    """The highest level of many folders; below those of the classes, of such as are of one class each if there are any.

    A folder of the same name below two classes counts as one: to take one patient for two would be a leak.
    """
    parts, labels = table["path"].str.split("/").str[:-1], table["label"]
    levels = {level: folded(parts.str[-level].fillna("")) for level in range(int(parts.str.len().max()), 0, -1)}
    mixed = {level: _classes(names, labels) >= MIXED for level, names in levels.items()}
    kinds = [level for level, names in levels.items() if not mixed[level] and names.nunique() <= 2 * labels.nunique()]
    many = [level for level, names in levels.items() if _plausible(names, labels)]
    if not many:
        return None
    below = [level for level in many if mixed[level] and level < max(kinds, default=0)]  # of several classes
    level = min(many, key=lambda level: (level in below, -level))
    where = "" if level == 1 else f"{level - 1} above the one " if level > 2 else "above the one "
    pattern = rf"([^/]+){'/[^/]+' * (level - 1)}/[^/]+$"
    said = f"the folder {where}that an image lies in"
    return Grouping(
        {"pattern": pattern}, said, _doubt("folder", parts.str[-level].dropna().iloc[0]) if level in below else ""
    )


def _of_names(table: pd.DataFrame) -> Grouping | None:
    """The part of the files' names that has plausible numbers of images: `P012_3.png`, `NORMAL2-IM-1427-0001.jpeg`.

    Names are of one shape where the same of their parts hold digits. Of each shape it is the first such part that has
    several images. A part that is there under several classes counts as one patient, as a folder does.
    """
    stems = table["path"].map(without_ending).str.rpartition("/")[2]
    if stems.nunique() < 0.5 * len(stems):  # slice_001 of every volume
        return None
    tokens = stems.str.findall(f"{_TOKEN}+")
    shapes = tokens.map(lambda parts: tuple(any(c.isdigit() for c in part) for part in parts))
    common = shapes.value_counts()[:SHAPES]
    common = common[common >= RARE * len(shapes)]
    if common.sum() < NEARLY * len(shapes):
        return None
    chosen = {shape: _part(tokens[shapes == shape], shape) for shape in common.index}
    within = table["label"] + "/" + table["path"].str.rpartition("/")[0]  # where numbers may begin again
    pattern = "|".join(_regex(shape, *part) for shape, part in chosen.items() if part is not None)
    if not pattern:
        return None
    names = folded(first_known(table["path"].str.extract(pattern)))
    if not _plausible(names, table["label"]) or _repeated(names, within) < SOME:
        return None
    doubt = _doubt("part of a name", names.iloc[0]) if _classes(names, table["label"]) >= MIXED else ""
    return Grouping({"pattern": pattern}, "a part of the files' names, which has several images", doubt)


def _doubt(what: str, example: str) -> str:
    return (
        f"a {what} such as {example} is there under several classes, and taken for one patient; if it is several, a "
        "pattern whose group spans the class parts them"
    )


def _part(tokens: pd.Series, shape: tuple[bool, ...]) -> tuple[int, str] | None:
    """The place of the part of these names that seems to hold the patient, and the pattern of that part; None where no
    part has digits."""
    numbered = {place: _held(tokens.str[place]) for place, digits in enumerate(shape) if digits}
    counts = {
        place: tokens.str[place].str.extract(held, expand=False).value_counts() for place, held in numbered.items()
    }
    many = [p for p in numbered if len(counts[p]) >= FEW and counts[p].iloc[0] <= MOST * len(tokens)]
    several = [p for p in many if len(counts[p]) <= WHOLE * len(tokens)]
    return next(((place, numbered[place]) for place in (*several, *many, *numbered)), None)


def _held(parts: pd.Series) -> str:
    """The pattern of such parts of names, whose group is what may be the patient."""
    if parts.str.fullmatch(_EYE).all() and parts.str[-1].str.casefold().nunique() == 2:
        return _EYE
    if parts.str.match(r"[A-Za-z]\d+[A-Za-z]?P\d").mean() > 0.5:
        return _SLIDE
    return f"({_NUMBERED})"


def _regex(shape: tuple[bool, ...], place: int, held: str) -> str:
    """Of names of this shape the part at `place`."""
    parts = [_NUMBERED if digits else r"[^\d/ _.()-]+" for digits in shape]
    before = "".join(f"{part}{_APART}+" for part in parts[:place])
    behind = "".join(f"{_APART}+{part}" for part in parts[place + 1 :])
    return rf"(?:^|/){before}{held}{behind}{_APART}*(?:\.[A-Za-z.]+)?$"


def _plausible(names: pd.Series, labels: pd.Series) -> bool:
    """Whether such groups, '' for none, are of nearly all images, many, of each class too, and of several images."""
    counts = names[names != ""].value_counts()
    if counts.sum() < NEARLY * len(names) or len(counts) < FEW or counts.iloc[0] > MOST * len(names):
        return False
    least = np.minimum(FEW, labels.groupby(labels).size() / 2)
    return len(counts) <= WHOLE * len(names) and bool((names.groupby(labels).nunique() >= least).all())


def _classes(names: pd.Series, labels: pd.Series) -> float:
    """Classes that a group has, on average."""
    return float(labels.groupby(names).nunique().mean())


def _repeated(names: pd.Series, labels: pd.Series) -> float:
    """Of the groups of several images, the share that has two under one label."""
    sizes = labels.groupby([names, labels]).size().groupby(level=0).agg(["sum", "max"])
    return float((sizes.loc[sizes["sum"] > 1, "max"] > 1).mean())
