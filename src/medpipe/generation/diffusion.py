"""A step of a diffusion model's training: noise of random levels is laid over images, and taken away again."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from medpipe import backend
from medpipe.generation.denoising import draw_levels, loss
from medpipe.generation.learner import follow, norm


class Diffusion:
    """A network that takes noise away, and its optimizer: a Learner.

    - network: images (b, h, w, 3), the noise's level (b,), one-hot classes (b, c) -> (b, h, w, 3)
    - drawn: draws images by such a network, whose weights are the exponential moving average of this one's
    """

    statistics = ("loss", "gradient")

    def __init__(self, network: keras.Model, drawn: keras.Model, rate: float, betas: tuple[float, float]) -> None:
        self.network, self.drawn = network, drawn
        first, second = betas
        self._optimizer = keras.optimizers.Adam(rate, beta_1=first, beta_2=second)
        self._optimizer.build(network.trainable_variables)
        drawn.set_weights(network.get_weights())
        self.state = [variable for part in (network, drawn, self._optimizer) for variable in part.variables]
        self._step: Callable[..., list[Any]] = backend.compiled(self._learn, self.state)

    def random(self, of: npt.NDArray[np.float32], rng: np.random.Generator) -> tuple[npt.NDArray, ...]:
        """Noise (b, h, w, 3) and its levels (b,)."""
        noise = rng.standard_normal((len(of), *self.network.inputs[0].shape[1:]), np.float32)
        return noise, draw_levels(len(of), rng)

    def step(
        self,
        images: npt.NDArray[np.uint8],
        of: npt.NDArray[np.float32],
        random: tuple[npt.NDArray, ...],
        decay: float,
    ) -> list[Any]:
        return self._step(images, of, *random, np.float32(decay))

    def _learn(self, images: Any, of: Any, noise: Any, levels: Any, decay: Any) -> list[Any]:
        real = ops.cast(images, "float32") / 127.5 - 1

        def missed() -> tuple[Any, Any]:
            return loss(self.network, real, of, noise, levels), ()

        variables = self.network.trainable_variables
        value, _, gradients = backend.gradients(missed, variables, self.state)
        self._optimizer.apply(gradients, variables)
        follow(self.drawn, self.network, decay)
        return [value, norm(gradients)]
