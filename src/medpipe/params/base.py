"""What every section of `params.yaml` is made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Task = Literal["skin", "brain", "chest"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]


class Frozen(BaseModel):
    """A section. No number of it is infinite or NaN: YAML knows `.inf` and `.nan`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, protected_namespaces=(), allow_inf_nan=False)
