"""How models are built and trained: scales, the knobs of a sweep, recipes."""

from typing import Annotated, Literal

from pydantic import Field

from medpipe.params.base import Frozen, Positive, Rate, Share, Task


class Scale(Frozen):
    image_size: Positive
    epochs: Positive
    rows: Positive
    unfreeze: Annotated[int, Field(ge=0)]
    pretrained: bool
    augmentation: bool
    batch: Positive
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"]


class Knobs(Frozen):
    lr: Rate | None
    epochs: Positive | None
    batch: Positive | None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None
    seed: int | None


class Mlp(Frozen):
    units: tuple[Positive, ...]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Backbone(Frozen):
    backbone: str
    options: dict[str, float]
    weights: str | None
    unfreeze: Annotated[int, Field(ge=0)] | str
    freeze_norm: bool
    pooling: Literal["average", "flatten"]
    head: tuple[Positive, ...]
    batch_norm: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Resnet(Frozen):
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Convnet(Frozen):
    filters: tuple[Positive, ...]
    units: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Resunet(Frozen):
    pass


class CrossEntropy(Frozen):
    name: Literal["crossentropy", "binary_crossentropy"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


class Focal(Frozen):
    name: Literal["focal"]
    gamma: Annotated[float, Field(ge=0)]
    alpha: Rate


class FocalTversky(Frozen):
    name: Literal["focal_tversky"]
    alpha: Share
    gamma: Rate


Loss = Annotated[CrossEntropy | Focal | FocalTversky, Field(discriminator="name")]


class Augmentation(Frozen):
    horizontal_flip: bool
    vertical_flip: bool
    rotation: Annotated[float, Field(ge=0, le=180)]
    zoom: Annotated[float, Field(ge=0, lt=1)]
    shift: Annotated[float, Field(ge=0, lt=1)]
    shear: Annotated[float, Field(ge=0, lt=90)]
    brightness: Share


class Mixing(Frozen):
    mixup: Rate | None
    cutmix: Rate | None


class Optimizer(Frozen):
    name: Literal["sgd", "adam", "adamw"]
    weight_decay: Annotated[float, Field(ge=0)]
    clip_norm: Rate | None
    epsilon: Rate


class Warmup(Frozen):
    epochs: Positive
    lr: Rate


class Decay(Frozen):
    after: Annotated[int, Field(ge=0)]
    rate: Rate


class EarlyStopping(Frozen):
    monitor: Literal["val_loss"]
    patience: Positive
    min_delta: Annotated[float, Field(ge=0)]


class _Recipe(Frozen):
    task: Task
    inputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    merge: dict[str, tuple[str, ...]]
    loss: Loss
    only: str | None
    undersample: Annotated[float, Field(ge=1)] | None
    class_weights: Literal["balanced"] | None
    augmentation: Augmentation | None
    mixing: Mixing | None
    optimizer: Optimizer
    warmup: Warmup | None
    lr: Rate
    epochs: Positive
    decay: Decay | None
    early_stopping: EarlyStopping | None
    batch: Positive
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"]


class MlpRecipe(_Recipe):
    architecture: Literal["mlp"]
    network: Mlp


class BackboneRecipe(_Recipe):
    architecture: Literal["backbone"]
    network: Backbone


class ResnetRecipe(_Recipe):
    architecture: Literal["resnet"]
    network: Resnet


class ConvnetRecipe(_Recipe):
    architecture: Literal["convnet"]
    network: Convnet


class ResunetRecipe(_Recipe):
    architecture: Literal["resunet"]
    network: Resunet


Recipe = Annotated[
    MlpRecipe | BackboneRecipe | ResnetRecipe | ConvnetRecipe | ResunetRecipe, Field(discriminator="architecture")
]
