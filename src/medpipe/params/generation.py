"""Generators: their recipes, and how their images are measured."""

from typing import Annotated, Literal

from pydantic import Field

from medpipe.params.base import Frozen, Positive, Rate, Share, Task


class Sagan(Frozen):
    noise: Positive
    channels: Positive


Width = Annotated[int, Field(ge=4, multiple_of=4)]


class Unet(Frozen):
    """`multipliers` times `channels` are the widths of the levels, the first one's at the image's side; so many of the
    last as `attention` says have attention.
    """

    channels: Width
    multipliers: Annotated[tuple[Positive, ...], Field(min_length=1)]
    blocks: Positive
    attention: Annotated[int, Field(ge=0)]


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


Beta = Annotated[float, Field(ge=0, lt=1)]
Average = Annotated[float, Field(gt=0, lt=1)]
Several = Annotated[int, Field(ge=2)]


class _Recipe(Frozen):
    task: Task
    seed: Annotated[int, Field(ge=0)]
    inputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    betas: tuple[Beta, Beta]
    batch: Several
    steps: Positive
    every: Positive
    judged: Several
    features: FeatureNetwork
    nearest: Positive
    memorised: Memorised
    drawn: Positive


class SaganRecipe(_Recipe):
    kind: Literal["sagan"]
    network: Sagan
    lr: Rates
    average: Average | None
    diffaugment: bool


class EdmRecipe(_Recipe):
    kind: Literal["edm"]
    network: Unet
    lr: Rate
    average: Average
    heun: Positive


Generator = Annotated[SaganRecipe | EdmRecipe, Field(discriminator="kind")]


class _Caps(Frozen):
    """Caps, but for the rates, which take the recipe's place; null: as the recipe."""

    channels: Positive
    batch: Several
    steps: Positive
    every: Positive
    judged: Several
    drawn: Positive


class SaganCaps(_Caps):
    lr: Rates | None


class EdmCaps(_Caps):
    lr: Rate | None
    channels: Width
    blocks: Positive
    heun: Positive


class GeneratorCaps(Frozen):
    """By kind; null: as the recipes."""

    sagan: SaganCaps | None
    edm: EdmCaps | None
