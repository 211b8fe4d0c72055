"""Evaluation, comparison and probes."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from medpipe.params.base import Class, Frozen, Merge, Positive, Rate, Share, Task

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
