"""Evaluation and comparison."""

from typing import Annotated, Literal

from pydantic import Field

from medpipe.params.base import Frozen, Positive, Share

Metric = Literal["macro_f1", "balanced_accuracy", "accuracy", "dice"]


class Evaluate(Frozen):
    resamples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    tversky_alpha: Share
    explain: str


class Compare(Frozen):
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    metric: Metric
    merge: dict[str, tuple[str, ...]]
