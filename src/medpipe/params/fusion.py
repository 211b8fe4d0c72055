"""Models made of trained ones."""

from typing import Annotated, Literal

from pydantic import Field

from medpipe.params.base import Frozen, Positive, Rate, Task
from medpipe.params.training import EarlyStopping


class _Fusion(Frozen):
    task: Task
    members: tuple[str, str]
    inputs: tuple[str, str]


class DenseFusion(_Fusion):
    kind: Literal["late", "early"]
    head: tuple[Positive, ...]
    lr: Rate
    epochs: Positive
    batch: Positive
    early_stopping: EarlyStopping | None


class StackedFusion(_Fusion):
    kind: Literal["stacked"]
    c: Rate


class Cascade(_Fusion):
    kind: Literal["cascade"]
    sensitivity: Annotated[float, Field(gt=0, le=1)]


class Ensemble(Frozen):
    task: Task
    weights: Literal["validation", "equal"]


class Vote(Frozen):
    ensemble: str
    task: Task
    member: str


Fusion = Annotated[DenseFusion | StackedFusion | Cascade, Field(discriminator="kind")]
