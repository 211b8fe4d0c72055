"""Models made of trained ones."""

from typing import Annotated, Literal

from pydantic import Field

from medpipe.params.base import Frozen, Positive, Rate, Task
from medpipe.params.training import EarlyStopping

# dvc.yaml names the first and the last two.
Named = Annotated[tuple[str, ...], Field(min_length=2, max_length=4)]


class _Fusion(Frozen):
    task: Task
    members: tuple[str, ...]
    inputs: Named  # prepared variants that the members read, each once; where they all read one, that twice


class _Pair(_Fusion):
    members: tuple[str, str]


class DenseFusion(_Pair):
    kind: Literal["late", "early"]
    head: tuple[Positive, ...]
    lr: Rate
    epochs: Positive
    batch: Positive
    early_stopping: EarlyStopping | None


class StackedFusion(_Pair):
    kind: Literal["stacked"]
    c: Rate


class Cascade(_Pair):
    kind: Literal["cascade"]
    sensitivity: Annotated[float, Field(gt=0, le=1)]


class Mean(_Fusion):
    kind: Literal["mean"]
    members: Named
    weights: Literal["validation", "equal"]


Fusion = Annotated[DenseFusion | StackedFusion | Cascade | Mean, Field(discriminator="kind")]
