"""What a task is: where its rows come from, and what they say."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from medpipe.data.vocabulary import COLUMNS, VOLUME
from medpipe.params.base import Class, Frozen, Name
from medpipe.params.decoding import Decoding

# What every table of rows has already, or what a served model calls its own.
_TAKEN = {
    "id", "case", "path", "label", "group", "source", "set", "image", "mask", "share", "decision", "refer", "ood",
    "embedding", "error",
}  # fmt: skip
# What manifests, readers' tables and prediction tables have besides; `source` alone sorts rows into subgroups.
_COLUMNS = {*COLUMNS, *VOLUME, "set", "file", "folder", "marked", "temperature", "tp", "fp", "fn", "hd95"} - {"source"}
RESERVED = _TAKEN | _COLUMNS  # no names of features

Grey = Annotated[int, Field(ge=1, lt=1 << 31)]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]
MaskValues = Annotated[
    dict[Class, Annotated[tuple[Grey | Colour, ...], Field(min_length=1)]], Field(min_length=1, max_length=256)
]
BACKGROUND = "background"


class Number(Frozen):
    """A feature that is a number, in `range`; `bands` sort rows into subgroups, each from its lower end."""

    range: tuple[float, float]
    bands: tuple[float, ...]

    @model_validator(mode="after")
    def ordered(self) -> "Number":
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range must rise, is {list(self.range)}")
        if list(self.bands) != sorted(set(self.bands)):
            raise ValueError(f"bands must rise, are {list(self.bands)}")
        return self


class Category(Frozen):
    """A feature that is one of `values`, or unknown, which is none of them."""

    values: Annotated[tuple[str, ...], Field(min_length=1)]

    @field_validator("values")
    @classmethod
    def known(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [value for value in values if value.strip().casefold() in ("", "unknown")]:
            raise ValueError(f"{unknown[0]!r} is no value; leave it out: clean.<task>.unknown says what becomes of it")
        return values


def _feature(value: Any) -> str:
    has_values = "values" in value if isinstance(value, dict) else isinstance(value, Category)
    return "<category>" if has_values else "<number>"


Feature = Annotated[
    Annotated[Number, Tag("<number>")] | Annotated[Category, Tag("<category>")], Discriminator(_feature)
]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None


class Pattern(Frozen):
    """A regular expression over an image's path in the archive; the first of its groups that matches is the patient or
    lesion."""

    pattern: str

    @field_validator("pattern")
    @classmethod
    def groups(cls, pattern: str) -> str:
        if not _compiled(pattern).groups:
            raise ValueError(f"{pattern!r} must have a group, (...), which is the patient or lesion")
        return pattern


class _Columns(Frozen):
    """A column; of several, rows that share a value in any of them are of one group."""

    column: str | Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column,) if isinstance(self.column, str) else self.column


class Column(_Columns):
    """Of the table."""


class Lookup(_Columns):
    """The columns of another table, `file`, whose rows name images in the column `image`."""

    file: str
    image: str


class Published(Frozen):
    """An archive with a layout of its own: HAM10000, LGG MRI segmentation, COVID-19 radiography database."""

    kind: Literal["ham10000", "lgg", "radiography"]
    group: ClassVar[None] = None
    ungrouped: ClassVar[str] = "refuse"


class _Grouped(Frozen):
    """
    - group: what names an image's patient or lesion; `dicom`: the PatientID of its header; `study`: its
      StudyInstanceUID, where all PatientIDs were made alike; null: nothing does
    - ungrouped: of images without a group, where others have one: they are refused, or each is `alone`, a group of its
      own, and every page says so
    """

    group: Pattern | Lookup | Literal["dicom", "study"] | None
    ungrouped: Literal["refuse", "alone"]


class Folders(_Grouped):
    """A folder a class, `<anything>/<class>/<anything>/<image>`.

    - codes: folders by class, where they are not called so
    - sets: what folders called train, val and test mean: nothing (ignore), or the sets themselves (keep), which
      `split.<task>.by: given` then takes
    """

    kind: Literal["folders"]
    codes: dict[str, Class]
    sets: Literal["ignore", "keep"]


class Table(_Grouped):
    """A CSV, TSV, Excel or Parquet file, a row an image.

    - file: its path in the archive; image: the column that names the image, with or without folder or ending
    - images: the folder that these names are relative to, "" for the archive's top; mask: the column of masks
    - label: a column, whose values `codes` may rename, or a column a class of which one is 1; null where masks tell it,
      or the folder that the image lies in
    - source, set: columns; null for none. columns: those of features and subgroups that have another name there
    """

    kind: Literal["table"]
    group: Pattern | Column | Lookup | Literal["dicom", "study"] | None  # type: ignore[assignment]
    file: str
    images: str
    image: str
    mask: str | None
    label: str | dict[Class, str] | None
    codes: dict[str, Class]
    source: str | None
    set: str | None
    columns: dict[str, str]

    @model_validator(mode="after")
    def groups(self) -> "Table":
        labels = self.label.values() if isinstance(self.label, dict) else [self.label]
        others = {self.image: "image", self.mask: "mask", self.set: "set"} | dict.fromkeys(labels, "label")
        for name in self.group.names if isinstance(self.group, Column) else ():
            if name in others:
                raise ValueError(f"group: the column {name!r} is the {others[name]}, and names no patient or lesion")
        return self


class Pairs(_Grouped):
    """Images and their masks, in two folders or beside each other.

    - images, masks: regular expressions over whole paths without their endings; a mask is of the image for which their
      groups, in their order, match the same. A mask's path may match both, and several masks of an image are united
    - (?P<label>...) in `images` is the class, which masks tell otherwise; (?P<set>...) is the set. `masks` may have
      the two as well
    - codes: labels by class, where they are not called so
    """

    kind: Literal["pairs"]
    images: str
    masks: str
    codes: dict[str, Class]

    @model_validator(mode="after")
    def comparable(self) -> "Pairs":
        images, masks = _compiled(self.images), _compiled(self.masks)
        if wrong := ({*images.groupindex} | {*masks.groupindex}) - {"label", "set"}:
            raise ValueError(f"?P<{min(wrong)}>: groups are called label or set, or have no name")
        if extra := {*masks.groupindex} - {*images.groupindex}:
            raise ValueError(f"masks: has the group ?P<{min(extra)}>, which images lacks")
        unnamed = [found.groups - len(found.groupindex) for found in (images, masks)]
        if unnamed[0] != unnamed[1] or not unnamed[0]:
            raise ValueError(
                f"images has {unnamed[0]} groups, (...), and masks {unnamed[1]}: both want the same number, at least "
                "one, for what they match tells which mask is whose"
            )
        return self


class Isic(Frozen):
    """An export of the ISIC archive: `metadata.csv` and `<isic_id>.jpg`.

    - label: a column, as `diagnosis_3`; codes: its values by class, others being no class
    - ungrouped: as of other readers, of images that have neither patient nor lesion
    """

    kind: Literal["isic"]
    label: str
    codes: dict[str, Class]
    ungrouped: Literal["refuse", "alone"]
    group: ClassVar[None] = None


Reader = Annotated[Published | Folders | Table | Pairs | Isic, Field(discriminator="kind")]


class Declaration(Frozen):
    """A task.

    - archive: folder or zip; reader: what makes rows of it; decoding: how its files become 8-bit images
    - kind: classify (no masks), segment (masks alone), both
    - classes: in the order of the models' outputs; where masks tell the class, those of an empty and of a marked one
    - mask_values: what masks mark, by its name, and the values that mark it, greys or colours as `#ff0000`; those of
      `background` mark nothing, as 0, and all others are errors. null without masks
    - features: what models of tables read
    - subgroups: columns that a report sorts rows by
    - external: the `source` whose rows are an external test set; null for none
    """

    archive: str
    reader: Reader
    decoding: Decoding
    kind: Literal["classify", "segment", "both"]
    classes: Annotated[tuple[Class, ...], Field(min_length=2)]
    mask_values: MaskValues | None
    features: dict[Name, Feature]
    subgroups: tuple[str, ...]
    external: str | None

    @model_validator(mode="after")
    def consistent(self) -> "Declaration":
        if repeated := sorted({name for name in self.classes if self.classes.count(name) > 1}):
            raise ValueError(f"classes: {', '.join(repeated)} stands twice")
        if (self.mask_values is None) != (self.kind == "classify"):
            raise ValueError(f"mask_values: must be null for kind classify and given for others; kind is {self.kind}")
        probabilities = {f"p_{name}" for name in self.classes}
        for name in (*self.subgroups, *self.features):
            if name in _COLUMNS | probabilities:
                raise ValueError(f"{name!r} is no name for a subgroup or feature: tables have that column already")
        if self.mask_values is not None and not self.marks:
            raise ValueError(f"mask_values: nothing beside {BACKGROUND}; name what masks mark")
        marking = [value for values in (self.mask_values or {}).values() for value in values]
        if several := sorted({value for value in marking if marking.count(value) > 1}):
            raise ValueError(f"mask_values: {', '.join(map(str, several))} stands twice")
        taken = [name for name in (*self.features, *self.classes) if name in _TAKEN]
        if taken:
            raise ValueError(f"{taken[0]!r} is no name for a feature or class: tables have that column already")
        return self

    @property
    def marks(self) -> MaskValues | None:
        """`mask_values` of what is marked."""
        if self.mask_values is None:
            return None
        return {name: values for name, values in self.mask_values.items() if name != BACKGROUND}

    @property
    def bands(self) -> dict[str, tuple[float, ...]]:
        """The subgroup columns that are made of numbers, `<feature>_band`, with their lower ends."""
        numbers = {name: f for name, f in self.features.items() if isinstance(f, Number)}
        return {f"{name}_band": number.bands for name, number in numbers.items() if number.bands}
