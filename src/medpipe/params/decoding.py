"""From a file's bytes to an 8-bit image."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from medpipe.params.base import Frozen

Percent = Annotated[float, Field(ge=0, le=100)]


class Values(Frozen):
    """Grey values that become 0 and 255."""

    values: tuple[float, float]

    @model_validator(mode="after")
    def rising(self) -> "Values":
        if not self.values[0] < self.values[1]:
            raise ValueError(f"values must rise, are {list(self.values)}")
        return self


class Percentiles(Frozen):
    """Percentiles of a file's grey values that become 0 and 255."""

    percentiles: tuple[Percent, Percent]

    @model_validator(mode="after")
    def rising(self) -> "Percentiles":
        if not self.percentiles[0] < self.percentiles[1]:
            raise ValueError(f"percentiles must rise, are {list(self.percentiles)}")
        return self


def _window(value: Any) -> str:
    for kind, model in (("values", Values), ("percentiles", Percentiles)):
        if isinstance(value, model) or (isinstance(value, dict) and kind in value):
            return f"<{kind}>"
    return "<name>"


Window = Annotated[
    Annotated[Literal["full", "file"] | None, Tag("<name>")]
    | Annotated[Values, Tag("<values>")]
    | Annotated[Percentiles, Tag("<percentiles>")],
    Discriminator(_window),
]


class Decoding(Frozen):
    """How a task's files become 8-bit images; 8-bit JPEG, PNG and TIFF, and colours, are taken as they are.

    - window: what becomes 0 and 255 of other greys: "full", all that the file's type can hold; "file", the window that
      a DICOM file names; values; percentiles (of an image, or of a NIfTI volume as a whole); null refuses such files
    - frames: of several in a DICOM file, or pages of a TIFF
    - axis: that a NIfTI volume is cut along into slices: 0 sagittal, 1 coronal, 2 axial; null refuses volumes
    """

    window: Window
    frames: Literal["refuse", "split"]
    axis: Literal[0, 1, 2] | None
