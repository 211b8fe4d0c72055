"""The names that a task's data may have: what every stage knows of a task, whatever archive it came from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medpipe.errors import SettingError

EXTERNAL = "isic2018"  # the source of the skin task's external test set

# What ingest says of every image; behind these a manifest has the columns that its archive gives.
COLUMNS = (
    "id", "path", "sha256", "bytes", "width", "height", "phash", "label", "group", "source",
    "mask_path", "mask_sha256",
)  # fmt: skip


class Vocabulary(NamedTuple):
    classes: tuple[str, ...]
    subgroups: tuple[str, ...]  # columns that a report sorts rows by
    features: dict[str, tuple[str, ...]]  # values of a categorical feature, beside "unknown"


VOCABULARY: dict[str, Vocabulary] = {
    "skin": Vocabulary(
        classes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
        # dx_type says how the diagnosis was made: it leaks the label and is no feature.
        subgroups=("dx_type", "sex", "age_band", "localization"),
        features={
            "sex": ("male", "female"),
            "localization": (
                "abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand", "lower extremity",
                "neck", "scalp", "trunk", "upper extremity",
            ),
        },
    ),
    "brain": Vocabulary(classes=("healthy", "tumour"), subgroups=("site",), features={}),
    "chest": Vocabulary(
        classes=("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"), subgroups=("source",), features={}
    ),
}  # fmt: skip


def merged_classes(classes: Sequence[str], merge: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The classes in their order without those that `merge` ({new: [old, ...]}) takes in, then the new ones.

    Raises SettingError where `merge` names an unknown class, takes one twice, or makes one that is there already.
    """
    taken = [old for olds in merge.values() for old in olds]
    kept = [name for name in classes if name not in taken]
    for name in taken:
        if name not in classes or taken.count(name) > 1:
            raise SettingError(f"merge: {name!r} must be named once and be one of {', '.join(classes)}")
    for name in merge:
        if name in kept:
            raise SettingError(f"merge: {name!r} is a class already; name the new class otherwise or merge it too")
    return (*kept, *merge)
