"""How models are built and trained: scales, the knobs of a sweep, recipes."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medpipe.errors import SettingError
from medpipe.params.base import Frozen, Merge, Positive, Rate, Share, Task


class Scale(Frozen):
    epochs: Positive
    head_epochs: Positive | None
    head_lr: Rate | None
    rows: Positive | None
    draws: Annotated[float, Field(gt=0, le=1)]
    unfreeze: Annotated[int, Field(ge=0)] | None
    pretrained: bool
    augmentation: bool
    batch: Positive
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"]


class Knobs(Frozen):
    lr: Rate | None
    epochs: Positive | None
    batch: Positive | None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None


class Mlp(Frozen):
    units: tuple[Positive, ...]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Backbone(Frozen):
    backbone: str
    options: dict[str, float]
    weights: str | None
    normalise: Literal["backbone", "data"]
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
    """`sums`: over the pixels of the whole batch, or of each image."""

    name: Literal["focal_tversky"]
    alpha: Share
    gamma: Rate
    sums: Literal["batch", "image"]


Loss = Annotated[CrossEntropy | Focal | FocalTversky, Field(discriminator="name")]


class Augmentation(Frozen):
    probability: Share
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


class Sampling(Frozen):
    """From which epoch on (of the last phase, from 1) how many rows are drawn an epoch.

    `balanced`: so many in all, as many of each class as of another; `rows`: as many as there are training rows. `fill`:
    every class repeated up to so many, those that have more as they are; `generated`: filled up with images of the
    generator that the recipe's `inputs` name, instead. null: every training row once.
    """

    kind: Literal["balanced", "fill", "generated"]
    schedule: Annotated[tuple[tuple[Positive, Positive | Literal["rows"] | None], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def ordered(self) -> "Sampling":
        epochs = [epoch for epoch, _ in self.schedule]
        if epochs[0] != 1 or epochs != sorted(set(epochs)):
            raise SettingError(f"schedule: must begin with epoch 1 and its epochs must rise, are {epochs}")
        if self.kind != "balanced" and any(draws == "rows" for _, draws in self.schedule):
            raise SettingError(
                f"schedule: of kind {self.kind}, must be a number of rows of each class or null; `rows` is for balanced"
            )
        return self


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
    monitor: Literal["val_loss", "val_macro_f1"]
    patience: Positive
    min_delta: Annotated[float, Field(ge=0)]


class _Recipe(Frozen):
    task: Task
    # A prepared variant, and behind it a generator, whose images then fill classes up.
    inputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
    merge: Merge
    loss: Loss
    only: str | None
    undersample: Annotated[float, Field(ge=1)] | None
    class_weights: Literal["balanced"] | dict[str, Rate] | None
    weights_from: Positive
    sampling: Sampling | None
    folds: Annotated[int, Field(ge=2)] | None
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

    @model_validator(mode="after")
    def consistent(self) -> "_Recipe":
        if self.sampling is not None and (last := self.sampling.schedule[-1][0]) > self.epochs:
            raise SettingError(f"sampling.schedule: its epochs must be at most epochs, {self.epochs}; one is {last}")
        if self.weights_from > self.epochs:
            raise SettingError(f"weights_from: must be at most epochs, {self.epochs}, is {self.weights_from}")
        if (self.generator is None) == (self.sampling is not None and self.sampling.kind == "generated"):
            raise SettingError("inputs: of sampling.kind generated, and of no other, must name a generator second")
        if self.generator is not None and (self.only is not None or self.folds is not None):
            raise SettingError("inputs: with a generator second, only and folds must be null")
        rule = self.early_stopping
        if self.loss.name == "focal_tversky" and rule is not None and rule.monitor == "val_macro_f1":
            raise SettingError("early_stopping.monitor: val_macro_f1 is of classes; a segmenter takes val_loss")
        if self.mixing is not None and self.batch < 2:
            raise SettingError(f"batch: must be at least 2 where mixing is on, is {self.batch}")
        return self

    @property
    def generator(self) -> str | None:
        """The generator whose images fill classes up."""
        return self.inputs[1] if len(self.inputs) > 1 else None


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
    loss: FocalTversky  # the others are of classes


Recipe = Annotated[
    MlpRecipe | BackboneRecipe | ResnetRecipe | ConvnetRecipe | ResunetRecipe, Field(discriminator="architecture")
]
