"""`params.yaml`, read once and whole, into frozen models that reject an unknown or missing key by its full name.

Nothing here holds a value or changes one: what passes is what the file says. That is why the stages in `dvc.yaml` do
not depend on this module; what it lets through reaches them as DVC parameters.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medpipe.errors import InputError

Task = Literal["skin", "brain", "chest"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, protected_namespaces=())


# ------------------------------------------------------------------------------------------------ data
class SkinPhantom(Frozen):
    seed: int
    lesions: Positive
    external: Annotated[int, Field(ge=0)]


class BrainPhantom(Frozen):
    seed: int
    patients: Positive
    slices: Positive
    size: Positive


class ChestPhantom(Frozen):
    seed: int
    images: Positive
    size: Positive


class Phantom(Frozen):
    skin: SkinPhantom
    brain: BrainPhantom
    chest: ChestPhantom


class Ingest(Frozen):
    max_quarantined: Share
    max_pixels: Positive


class SkinClean(Frozen):
    unknown: Literal["drop", "category", "impute"]


class NoClean(Frozen):
    pass


class Clean(Frozen):
    skin: SkinClean
    brain: NoClean
    chest: NoClean


class Split(Frozen):
    by: Literal["group", "image"]
    train: Share
    val: Share
    test: Share
    near: Annotated[int, Field(ge=0, le=256)]

    @model_validator(mode="after")
    def whole(self) -> "Split":
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(f"train, val and test must add up to 1, not {self.train + self.val + self.test:g}")
        return self


class TableVariant(Frozen):
    task: Literal["skin"]
    kind: Literal["table"]


class ImagesVariant(Frozen):
    task: Task
    kind: Literal["images"]
    square: bool
    sizes: Annotated[tuple[Positive, ...], Field(min_length=1)]
    equalise: bool


Variant = Annotated[TableVariant | ImagesVariant, Field(discriminator="kind")]


# ------------------------------------------------------------------------------------------------ training
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


Fusion = Annotated[DenseFusion | StackedFusion | Cascade, Field(discriminator="kind")]


# ------------------------------------------------------------------------------------------------ evaluation
class Evaluate(Frozen):
    resamples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    tversky_alpha: Share
    explain: str


class Compare(Frozen):
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    metric: Literal["macro_f1", "balanced_accuracy", "accuracy", "dice"]
    merge: dict[str, tuple[str, ...]]


class Params(Frozen):
    seed: int
    archives: dict[Task, str]
    phantom: Phantom
    ingest: Ingest
    clean: Clean
    split: dict[Task, Split]
    prepare: dict[str, Variant]
    scale: str
    scales: dict[str, Scale | None]
    train: Knobs
    models: dict[str, Recipe]
    fusions: dict[str, Fusion]
    evaluate: Evaluate
    compare: dict[Task, Compare]
    registry: dict[Task, str]

    @model_validator(mode="after")
    def references(self) -> "Params":
        """Every name that one section takes from another must be there."""
        if self.scale not in self.scales:
            raise ValueError(f"scale: {self.scale!r} is none of scales: {', '.join(self.scales)}")
        for section, recipes in (("models", self.models), ("fusions", self.fusions)):
            for name, recipe in recipes.items():
                for key in recipe.inputs:
                    variant = self.prepare.get(key)
                    if variant is None or variant.task != recipe.task:
                        known = [k for k, v in self.prepare.items() if v.task == recipe.task]
                        raise ValueError(f"{section}.{name}.inputs: {key!r} is none of prepare's: {', '.join(known)}")
        for name, fusion in self.fusions.items():
            for member, key in zip(fusion.members, fusion.inputs, strict=True):
                if member not in self.models or self.models[member].task != fusion.task:
                    raise ValueError(f"fusions.{name}.members: {member!r} is no {fusion.task} model in models")
                reads = self.models[member].inputs[0]
                if reads != key:
                    raise ValueError(f"fusions.{name}.inputs: {key!r} is not what models.{member} reads: {reads!r}")
        for task, settings in self.compare.items():
            for name in settings.models:
                model = self.models.get(name) or self.fusions.get(name)
                if model is None or model.task != task:
                    raise ValueError(f"compare.{task}.models: {name!r} is no {task} model in models or fusions")
        if shared := set(self.models) & set(self.fusions):
            raise ValueError(f"models and fusions both have {', '.join(sorted(shared))}: a name must be unique")
        return self


# ------------------------------------------------------------------------------------------------ reading
class _Loader(yaml.SafeLoader):
    """YAML 1.2's floats: PyYAML reads `2e-05`, which DVC writes, as a string (YAML 1.1 wants a dot and a sign)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)


def read(path: Path) -> dict[str, Any]:
    """The file's mapping, unvalidated. Raises InputError where there is none or it is no YAML mapping."""
    try:
        values = yaml.load(path.read_text(), Loader=_Loader)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the stages from the repository's root") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: must be a mapping of sections, is {type(values).__name__}")
    return values


def load(path: Path = Path("params.yaml")) -> Params:
    """All parameters, validated. Raises InputError with the full name of every key that is wrong."""
    try:
        return Params.model_validate(read(path))
    except ValidationError as error:
        raise InputError("\n".join(f"{path}: {_describe(problem)}" for problem in error.errors())) from None


def _describe(problem: Any) -> str:
    """`models.skin-b4.lr: ...`; the tag that pydantic adds for the member of a union is left out."""
    tags = {"table", "images", "mlp", "backbone", "resnet", "convnet", "resunet", "crossentropy", "binary_crossentropy"}
    tags |= {"focal", "focal_tversky", "late", "early", "stacked", "cascade"}
    parts = [str(part) for part in problem["loc"]]
    # A tag stands behind the name of a recipe or `loss`, never first, and never where it is the key that is wrong.
    kept = [p for i, p in enumerate(parts) if not (p in tags and 0 < i < len(parts) - 1)]
    key = ".".join(kept)
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; remove it or correct its name"
        case "missing":
            return f"{key}: missing; every key must have a value"
    return f"{key}: {problem['msg']}" if key else problem["msg"].removeprefix("Value error, ")
