"""The names that a task's data may have: what every stage knows of a task, whatever archive it came from."""

from typing import NamedTuple

EXTERNAL = "isic2018"  # the source of the skin task's external test set


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
