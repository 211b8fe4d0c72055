"""Evaluation, comparison and probes."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from medpipe.params.base import Class, Frozen, Merge, Name, Positive, Rate, Share, Task

Metric = Literal["macro_f1", "balanced_accuracy", "accuracy", "dice"]


class Sensitivity(Frozen):
    """At least so on validation rows, with as few false alarms as that allows."""

    sensitivity: Annotated[float, Field(gt=0, le=1)]


class Cost(Frozen):
    """What a missed row costs, in false alarms, 1 or more; their sum is least on validation rows."""

    cost: Rate

    @field_validator("cost")
    @classmethod
    def no_less_than_a_false_alarm(cls, cost: float) -> float:
        if cost < 1:
            raise ValueError(
                f"must be 1 or more, is {cost:g}: what a missed case costs, in false alarms (10: one missed case is as"
                " bad as ten false alarms), and to miss the class is the worse error"
            )
        return cost


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "<youden>"
    return "<cost>" if isinstance(value, Cost) or (isinstance(value, dict) and "cost" in value) else "<sensitivity>"


Threshold = Annotated[
    Annotated[Sensitivity, Tag("<sensitivity>")]
    | Annotated[Cost, Tag("<cost>")]
    | Annotated[Literal["youden"], Tag("<youden>")],
    Discriminator(_kind),
]


class Decide(Frozen):
    """What a task's classifiers decide, by validation rows.

    - of: the class told from the rest; rule: how its threshold is chosen
    - error: share of wrong labels, at most, among the cases that are not referred to a person
    - coverage: share of the cases of each class whose set of classes must hold it
    """

    of: Class
    rule: Threshold
    error: Share
    coverage: Annotated[float, Field(gt=0, lt=1)]


class Evaluate(Frozen):
    seed: int
    resamples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    tversky_alpha: Share
    explain: dict[Task, Class]  # the class whose probability SHAP takes apart, of models of tables alone
    operating_points: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)]
    decide: dict[Task, Decide]
    max_pixels: Positive
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


class Probe(Frozen):
    """How a task's model is probed for shortcuts.

    - models: a trained classifier of images, and behind it, where one is to stand beside it, a model of tables
    - inputs: what the first one reads
    - box: the share of height and width that the region of interest has, in the middle; null: what training masks mark
    - border: the share of a side that the border is wide
    - folds, c: of the logistic regression from embedding to source, c the inverse strength of its L2 penalty
    """

    models: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
    inputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    box: Annotated[float, Field(gt=0, lt=1)] | None
    border: Annotated[float, Field(gt=0, lt=0.5)]
    folds: Annotated[int, Field(ge=2)]
    c: Rate


class Floor(Frozen):
    """The lower bound of `metric` in each subgroup of test rows with enough groups is to reach `floor`.

    `shared_recall`, of classifiers: the mean recall of the classes that the subgroup and the rest have.
    """

    metric: Literal["shared_recall", "dice"]
    floor: Share


class Gate(Frozen):
    """What a task's best must meet to become its champion; null is not asked, and what is not measured is not met.

    - margin: it may be so much worse than the reigning and the best champion in the comparison's metric on test rows,
      by the lower bound of the paired difference, and no more
    - max_calibration_error: the upper bound of the calibration error of test rows, at most
    - subgroup_floor: of test rows
    - shortcut_alarm: what to do where the probes raised one, or were not run on the model
    - unrelated: what to do with a champion of other data that cannot be compared
    """

    margin: Share | None
    max_calibration_error: Share | None
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
