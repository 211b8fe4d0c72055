"""Evaluation and comparison."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from medpipe.params.base import Class, Frozen, Merge, Positive, Share, Task

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
