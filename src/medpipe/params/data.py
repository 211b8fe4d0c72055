"""From archives to arrays: phantom, ingest, clean, split, prepare."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medpipe.params.base import Frozen, Positive, Share, Task


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


class Explore(Frozen):
    images_a_class: Positive
    sample: Positive
    undersample: Annotated[float, Field(ge=1)]


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
