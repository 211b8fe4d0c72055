"""From archives to arrays: phantom, ingest, clean, split, prepare."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from medpipe.params.base import Frozen, Name, Positive, Share, Task
from medpipe.params.decoding import Decoding
from medpipe.params.tasks import Feature, MaskValues


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


class Phantom(TypedDict, total=False):
    """Invented archives: HAM10000's, the LGG MRI segmentation's, the COVID-19 radiography database's."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    skin: SkinPhantom
    brain: BrainPhantom
    chest: ChestPhantom


class Ingest(Frozen):
    max_quarantined: Share
    max_pixels: Positive


class Clean(Frozen):
    unknown: Literal["drop", "category", "impute"] | None  # null for a task without categorical features


class Split(Frozen):
    seed: int
    by: Literal["group", "image", "given"]
    train: Share
    val: Share
    test: Share
    near: Annotated[int, Field(ge=0, le=40)]  # beyond, different images are alike

    @model_validator(mode="after")
    def whole(self) -> "Split":
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(f"train, val and test must add up to 1, not {self.train + self.val + self.test:g}")
        return self


class Explore(Frozen):
    seed: int
    images_a_class: Positive
    sample: Positive
    undersample: Annotated[float, Field(ge=1)]


class TableVariant(Frozen):
    task: Task
    kind: Literal["table"]


class ImagesVariant(Frozen):
    task: Task
    kind: Literal["images"]
    square: bool
    sizes: Annotated[tuple[Positive, ...], Field(min_length=1)]
    equalise: bool


class PreparedTable(TableVariant):
    """A table as it was prepared: what serving must know of its columns."""

    features: dict[Name, Feature]


class PreparedImages(ImagesVariant):
    """An images variant as it was prepared: what serving must do to a file, and what masks beside the images mark."""

    decoding: Decoding
    mask_values: MaskValues | None


Variant = Annotated[TableVariant | ImagesVariant, Field(discriminator="kind")]
