"""What the names of folders say: sets, classes, or neither."""

import re
from collections.abc import Collection, Sequence

import pandas as pd

from medpipe.data.readers.folders import SETS
from medpipe.data.tables import folded

MOST_CLASSES, FEW = 30, 5  # classes; images of one, on average, below which folders are taken for patients
PLAIN = re.compile(
    r"healthy|diseased?|infected|uninfected|parasiti[sz]ed|cancer|non.?cancer|negative|positive|(ab)?normal|benign|"
    r"malignant|(no|non|with|without)?.?tumou?r|yes|no"
)  # names of classes, wherever they stand
_GRADES = ("grade", "class", "stage", "type", "level", "score", "kl", "birads", "bi rads", "category", "cat", "label")
_IDS = ("p", "s")  # letters before the number of a patient; G1, T2 and F3 are grades
_MAGNIFICATION = re.compile(r"x?\d+x?")
_SET = re.compile(
    rf"(?<![a-z])({'|'.join(sorted(SETS, key=len, reverse=True))})(?![a-z])|(?<=images|labels)(tr|ts)$", re.IGNORECASE
)


def parted(folder: str) -> tuple[str, str, str]:
    """A folder's name before the word that names a set, that word, and what is behind; '' twice where there is none."""
    found = list(_SET.finditer(folder))
    if len(found) != 1:
        return folder, "", ""
    return folder[: found[0].start()], found[0][0], folder[found[0].end() :]


def are_sets(names: Collection[str]) -> bool:
    return all(name.casefold() in SETS for name in names)


def are_classes(names: pd.Series) -> bool:
    """Whether these names, one an image, '' for none, may be those of classes: few, each of several images, neither
    sets, magnifications, nor numbered parts or patients."""
    names = folded(names[names != ""])
    kinds = [*names.unique()]
    if not 2 <= len(kinds) <= MOST_CLASSES or len(names) < FEW * len(kinds) or any(kind in SETS for kind in kinds):
        return False
    if all(parted(kind)[1] for kind in kinds):  # train_images, test_images
        return False
    return not (all(map(_MAGNIFICATION.fullmatch, kinds)) and "x" in "".join(kinds)) and not _numbered(kinds)


def _numbered(kinds: Sequence[str]) -> bool:
    """Whether the names are one word with a number behind that is no grade, or hold numbers of three digits."""
    most = 0.9 * len(kinds)
    if sum(bool(re.search(r"\d{3}", kind)) for kind in kinds) >= most:
        return True
    words = [re.sub(r"[\W_]+", " ", match[1]).strip() for kind in kinds if (match := re.fullmatch(r"(.*?)\d+", kind))]
    if len(words) < most or len({*words}) != 1 or not words[0]:
        return False
    return words[0] not in _GRADES if len(words[0]) > 1 else words[0] in _IDS


def class_levels(folders: Sequence[Sequence[str]]) -> dict[int, pd.Series]:
    """The levels, 1 the one that an image lies in, whose names may be those of classes, the likeliest first.

    Those of which all names are PLAIN come first, such of bare numbers last; of others the lowest.
    """
    found = {}
    for level in range(1, max(map(len, folders), default=0) + 1):
        names = pd.Series([parts[-level] if len(parts) >= level else "" for parts in folders])
        if are_classes(names):
            found[level] = names
    return dict(sorted(found.items(), key=lambda item: _rank(item[1])))


def _rank(names: pd.Series) -> int:
    kinds = folded(names[names != ""]).unique()
    if all(map(PLAIN.fullmatch, kinds)):
        return 0
    return 2 if all(kind.isdigit() for kind in kinds) else 1
