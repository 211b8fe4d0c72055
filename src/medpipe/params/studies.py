"""studies.yaml: named sets of experiments. Of the stages only compare reads it, for what was published."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from medpipe.params.base import Frozen, Share, Task
from medpipe.params.evaluation import Metric

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]  # part of a git reference
Published = Annotated[
    str,
    Field(
        pattern=r"^((train|validation|test)_)?"
        r"(accuracy|balanced_accuracy|dice|tversky|(macro|weighted)_(precision|recall|f1)|(precision|recall|f1):.+"
        r"|(accuracy|precision|recall)@0\.\d+)$"
    ),
]


class Row(Frozen):
    model: str
    published: dict[Published, Share]
    set: dict[str, Any]


class Study(Frozen):
    task: Task
    metric: Metric
    scale: str
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    repeats: dict[str, tuple[int, ...]]
    baseline: str
    controls: dict[str, str]
    rows: Annotated[dict[Name, Row], Field(min_length=1)]

    @model_validator(mode="after")
    def references(self) -> "Study":
        known = ", ".join(self.rows)
        if self.baseline not in self.rows:
            raise ValueError(f"baseline: {self.baseline!r} is none of rows: {known}")
        for row in self.repeats:
            if row not in self.rows:
                raise ValueError(f"repeats: {row!r} is none of rows: {known}")
        for row, control in self.controls.items():
            if row not in self.rows or control not in self.rows:
                raise ValueError(f"controls: {row!r}: {control!r}: one of them is none of rows: {known}")
            if row == control:
                raise ValueError(f"controls.{row}: is its own control; name another row")
        for row in self.rows:
            seeds = self.seeds_of(row)
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"repeats.{row}: a seed stands twice in {list(seeds)}, those of seeds and its own")
        return self

    def seeds_of(self, row: str) -> tuple[int, ...]:
        return self.seeds + self.repeats.get(row, ())
