"""What a person asks for and what an archive seems to be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from medpipe.data.archive import Archive
from medpipe.errors import InputError
from medpipe.planning import masks

KINDS = ("classify", "segment", "both")
SPLITS = ("group", "given", "image")


@dataclass(frozen=True)
class Asked:
    """What `make new` was told; None where it is to find that out.

    - kind: of KINDS; split: of SPLITS
    - label: a column of a table, or several of 0 and 1, parted by commas; image, mask: columns
    - group: a column, `dicom`, `study`, or a regular expression over paths with a group in parentheses
    """

    kind: str | None = None
    label: str | None = None
    image: str | None = None
    mask: str | None = None
    group: str | None = None
    split: str | None = None

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "Asked":
        """Of `LABEL=dx` and the like. Raises InputError for another word or value."""
        values: dict[str, str] = {}
        for argument in arguments:
            key, _, value = map(str.strip, argument.partition("="))
            if key.lower() not in cls.__dataclass_fields__ or not value:
                known = ", ".join(f"{name.upper()}=" for name in cls.__dataclass_fields__)
                raise InputError(f"{argument!r} is none of {known}")
            values[key.lower()] = value
        for key, choices in (("kind", KINDS), ("split", SPLITS)):
            if values.get(key, choices[0]) not in choices:
                raise InputError(f"{key.upper()}={values[key]}: one of {', '.join(choices)} wanted")
        return cls(**values)

    def group_of(self) -> dict[str, str] | str | None:
        """`reader.group`, unless it is a column. Raises InputError for anything but dicom, study and a pattern."""
        if self.group is None or self.group in ("dicom", "study"):
            return self.group
        if "(" in self.group:
            return {"pattern": self.group}
        raise InputError(
            f"GROUP={self.group}: a column of the table that names images, dicom, study or a pattern with a group in "
            "parentheses wanted"
        )


@dataclass
class Found:
    """A proposal: `reader`, `classes` and so on as a declaration has them, and what a person must know of each.

    `said` is by key; `questions` are what is ambiguous, with the choices.
    """

    reader: dict[str, Any]
    classes: list[str] = field(default_factory=list)
    kind: str = "classify"
    mask_values: dict[str, list[int | str]] | None = None
    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    subgroups: list[str] = field(default_factory=list)
    external: str | None = None
    said: dict[str, str] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)

    def take_masks(self, archive: Archive, paths: Sequence[str]) -> None:
        """Take over what these masks mark, with the questions."""
        self.mask_values, questions = masks.proposed(archive, paths)
        self.questions += questions
