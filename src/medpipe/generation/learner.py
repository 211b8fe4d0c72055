"""What a training of any kind of generator is made of."""

from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
from keras import ops


class Learner(Protocol):
    """Networks and their optimizers.

    - statistics: what a step gives, by name; losses end in `loss`
    - state: every variable that a step reads or changes
    - drawn: what images are drawn from: noise (b, n), from a standard normal, and one-hot classes (b, c) -> images
      (b, h, w, 3) in [-1, 1]
    """

    state: list[keras.Variable]

    @property
    def statistics(self) -> tuple[str, ...]: ...

    @property
    def drawn(self) -> keras.Model: ...

    def random(self, of: npt.NDArray[np.float32], rng: np.random.Generator) -> tuple[npt.NDArray, ...]:
        """All that is random in a step on images of the one-hot classes (b, c)."""
        ...

    def step(
        self,
        images: npt.NDArray[np.uint8],
        of: npt.NDArray[np.float32],
        random: tuple[npt.NDArray, ...],
        decay: float,
    ) -> list[Any]:
        """Learns from real images (b, h, w, 3) in [0, 255], their one-hot classes (b, c) and what `random` gave.

        `decay` is that of the moving average of weights, where there is one. Gives the statistics, not waited for.
        """
        ...


def named(learner: Learner, found: Sequence[Any]) -> dict[str, float]:
    """A step's statistics by name, waited for."""
    return {key: float(ops.convert_to_numpy(value)) for key, value in zip(learner.statistics, found, strict=True)}


def norm(gradients: Sequence[Any]) -> Any:
    """The Euclidean norm over all of them."""
    return ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))


def follow(average: keras.Model, model: keras.Model, decay: Any) -> None:
    """Moves the average of the model's weights on by a step."""
    for kept, now in zip(average.variables, model.variables, strict=True):
        kept.assign(kept.value * decay + now.value * (1 - decay))


def decay_at(step: int, most: float) -> float:
    """Of the moving average at a step from 1: less than `most` at first, so that the random start is soon forgotten."""
    return min(most, step / (step + 9))
