"""What every section is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# DVC splits keys at dots and stages at @ and :, names stand in paths, commands and git references.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Task = Name
# Part of MLflow's names of metrics and of files.
Class = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$")]
Merge = dict[Class, tuple[str, ...]]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]


class Frozen(BaseModel):
    """A section. No number of it is infinite or NaN: YAML knows `.inf` and `.nan`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, protected_namespaces=(), allow_inf_nan=False)
