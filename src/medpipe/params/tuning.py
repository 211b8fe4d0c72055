"""What `tuning.yaml` may say: how a model's hyperparameters are searched, and where."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from medpipe.params.base import Frozen, Positive


class Choices(Frozen):
    choices: Annotated[tuple[Any, ...], Field(min_length=2)]

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that a recipe must accept for it to accept all."""
        return self.choices


class _Range(Frozen):
    @model_validator(mode="after")
    def rising(self) -> "_Range":
        low, high = self.ends
        if low >= high:
            raise ValueError(f"low must be below high, is {low} against {high}")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that a recipe must accept for it to accept all."""
        raise NotImplementedError


class Floats(_Range):
    low: float
    high: float
    log: bool

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    @model_validator(mode="after")
    def positive(self) -> "Floats":
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is true, is {self.low}")
        return self


class Integers(_Range):
    low: int
    high: int
    step: Positive

    @property
    def ends(self) -> tuple[int, int]:
        return self.low, self.high - (self.high - self.low) % self.step


def _kind(values: Any) -> str:
    """The tag of a dimension, in brackets as no key is, so that a message can leave it out."""
    keys = values if isinstance(values, dict) else getattr(values, "__dict__", ())
    return "<choices>" if "choices" in keys else "<integers>" if "step" in keys else "<floats>"


Dimension = Annotated[
    Annotated[Choices, Tag("<choices>")] | Annotated[Integers, Tag("<integers>")] | Annotated[Floats, Tag("<floats>")],
    Discriminator(_kind),
]


class Sampler(Frozen):
    startup: Annotated[int, Field(ge=0)]


class Pruner(Frozen):
    startup: Annotated[int, Field(ge=0)]
    warmup: Annotated[int, Field(ge=0)]


class Tuning(Frozen):
    """The search for one model, whose name it stands under; `space` by dotted key in its recipe."""

    trials: Positive
    metric: Literal["val_loss", "val_accuracy", "val_macro_f1", "val_dice"]
    sampler: Sampler
    pruner: Pruner
    space: Annotated[dict[str, Dimension], Field(min_length=1)]
