"""Generators: their recipes, and how their images are measured."""

from typing import Annotated, Literal

from pydantic import Field

from medpipe.params.base import Frozen, Positive, Rate, Share, Task


class Sagan(Frozen):
    noise: Positive
    channels: Positive


class Rates(Frozen):
    generator: Rate
    discriminator: Rate


class FeatureNetwork(Frozen):
    backbone: str
    options: dict[str, float]
    weights: str
    side: Positive


class Memorised(Frozen):
    quantile: Annotated[float, Field(gt=0, lt=1)]
    limit: Share


class Generator(Frozen):
    task: Task
    seed: Annotated[int, Field(ge=0)]
    kind: Literal["sagan"]
    inputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    network: Sagan
    lr: Rates
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]
    average: Annotated[float, Field(gt=0, lt=1)] | None
    diffaugment: bool
    batch: Annotated[int, Field(ge=2)]
    steps: Positive
    every: Positive
    judged: Annotated[int, Field(ge=2)]
    features: FeatureNetwork
    nearest: Positive
    memorised: Memorised
    drawn: Positive


class GeneratorCaps(Frozen):
    """Caps, but for the rates, which take the recipe's place; null: as the recipe."""

    lr: Rates | None
    batch: Annotated[int, Field(ge=2)]
    channels: Positive
    steps: Positive
    every: Positive
    judged: Annotated[int, Field(ge=2)]
    drawn: Positive
