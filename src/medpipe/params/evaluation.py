"""Evaluation and comparison."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from medpipe.params.base import Class, Frozen, Merge, Name, Positive, Share, Task

Metric = Literal["macro_f1", "balanced_accuracy", "accuracy", "dice"]


class Evaluate(Frozen):
    seed: int
    resamples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    tversky_alpha: Share
    explain: dict[Task, Class]  # the class whose probability SHAP takes apart, of models of tables alone
    operating_points: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)]
    flips: tuple[Literal["horizontal", "vertical"], ...]

    @field_validator("flips")
    @classmethod
    def once(cls, flips: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(flips)) < len(flips):
            raise ValueError("each flip can be named once")
        return flips


class Compare(Frozen):
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    metric: Metric
    margin: Share  # of the metric: a model that is shown to be less than this below another is no worse
    merge: Merge


class Floor(Frozen):
    """No subgroup of test rows with enough groups may be below `floor` in `metric`."""

    metric: Literal["macro_f1", "balanced_accuracy", "accuracy", "dice"]
    floor: Share


class Gate(Frozen):
    """What a task's best must meet to become its champion; what is null is not asked.

    - margin: it may be so much worse than the champion in the comparison's metric on test rows, and no more
    - max_ece: expected calibration error of test rows, at most
    - subgroup_floor: of test rows
    - shortcut_alarm: what to do where the probes raised one
    - unrelated: what to do with a champion of other data that cannot be compared
    """

    margin: Share | None
    max_ece: Share | None
    subgroup_floor: Floor | None
    shortcut_alarm: Literal["refuse"] | None
    unrelated: Literal["refuse"] | None


class Card(Frozen):
    """What no artefact tells: intended use, licence of the data. null: the model card says that a person has to."""

    use: str | None
    licence: str | None


class Registered(Frozen):
    """The registered model of a task."""

    name: Name
    gate: Gate
    card: Card
