"""From a file's bytes to an 8-bit image."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from medpipe.params.base import Frozen, Positive

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


Shown = tuple[float, Annotated[float, Field(gt=0)]]  # centre and width
Windows = Annotated[tuple[Shown, ...], Field(min_length=1, max_length=3)]


def _window(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "<windows>"
    for kind, model in (("values", Values), ("percentiles", Percentiles)):
        if isinstance(value, model) or (isinstance(value, dict) and kind in value):
            return f"<{kind}>"
    return "<name>"


Window = Annotated[
    Annotated[Literal["full", "file"] | None, Tag("<name>")]
    | Annotated[Values, Tag("<values>")]
    | Annotated[Percentiles, Tag("<percentiles>")]
    | Annotated[Windows, Tag("<windows>")],
    Discriminator(_window),
]


class Decoding(Frozen):
    """How a task's files become 8-bit images; 8-bit JPEG, PNG and TIFF, and colours, are taken as they are.

    - window: what becomes 0 and 255 of other greys: "full", all that the file's type can hold; "file", the window that
      a DICOM file names; values; percentiles (of an image, or of a NIfTI volume as a whole); up to three windows by
      centre and width, a channel each, the last of two twice; null refuses such files
    - frames: of several in a DICOM file, or pages of a TIFF
    - axis: that a NIfTI volume is cut along into slices: 0 sagittal, 1 coronal, 2 axial; null refuses volumes
    - context: neighbours on either side that a slice has as channels: 0 none, 1 the one before it, itself, the next
    - max_voxels: of a volume; one of more is taken for a decompression bomb
    """

    window: Window
    frames: Literal["refuse", "split"]
    axis: Literal[0, 1, 2] | None
    context: Literal[0, 1]
    max_voxels: Positive

    @model_validator(mode="after")
    def three_channels(self) -> "Decoding":
        if self.context and self.axis is None:
            raise ValueError("context: 1 is for slices of volumes; set axis to 0, 1 or 2")
        if self.context and isinstance(self.window, tuple) and len(self.window) > 1:
            raise ValueError("context: 1 and several windows want more than three channels; choose one of them")
        return self

    @property
    def mixed(self) -> bool:
        """Whether an image's channels differ other than in colour."""
        return self.context > 0 or (isinstance(self.window, tuple) and len(self.window) > 1)
