"""A step of a GAN's training: the discriminator learns once, then the generator."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from medpipe import backend
from medpipe.generation import diffaugment
from medpipe.generation.draw import one_hot, size
from medpipe.generation.learner import follow, norm
from medpipe.generation.losses import discriminator_loss, generator_loss


class Adversaries:
    """A generator, a discriminator, and their optimizers: a Learner.

    - average: a second generator whose weights are the exponential moving average of the first's, or None
    """

    statistics = ("d_loss", "g_loss", "d_real", "d_fake", "d_gradient", "g_gradient")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        average: keras.Model | None,
        rates: tuple[float, float],
        betas: tuple[float, float],
        augmented: bool,
    ) -> None:
        self.generator, self.discriminator, self.average, self.augmented = generator, discriminator, average, augmented
        first, second = betas
        self._optimizers = [keras.optimizers.Adam(rate, beta_1=first, beta_2=second) for rate in rates]
        for optimizer, model in zip(self._optimizers, (generator, discriminator), strict=True):
            optimizer.build(model.trainable_variables)
        if average is not None:
            average.set_weights(generator.get_weights())
        models = [generator, discriminator, *([] if average is None else [average])]
        self.state = [variable for part in (*models, *self._optimizers) for variable in part.variables]
        self._step = backend.compiled(self._learn, self.state)

    @property
    def drawn(self) -> keras.Model:
        """The generator that images are drawn from."""
        return self.generator if self.average is None else self.average

    def random(self, of: npt.NDArray[np.float32], rng: np.random.Generator) -> tuple[npt.NDArray, ...]:
        """Of generated images noise (2, b, n) and one-hot classes (2, b, c), for the discriminator's turn and the
        generator's, every class as often; what DiffAugment takes, (3, b, NUMBERS).
        """
        count, classes = of.shape
        noise = rng.standard_normal((2, count, size(self.generator)), np.float32)
        drawn = one_hot(rng.integers(classes, size=(2, count)), classes)
        return noise, drawn, diffaugment.draw(3 * count, rng).reshape(3, count, -1)

    def step(
        self,
        images: npt.NDArray[np.uint8],
        of: npt.NDArray[np.float32],
        random: tuple[npt.NDArray, ...],
        decay: float,
    ) -> list[Any]:
        return self._step(images, of, *random, np.float32(decay))

    def _learn(self, images: Any, of: Any, noise: Any, classes: Any, numbers: Any, decay: Any) -> list[Any]:
        real = ops.cast(images, "float32") / 127.5 - 1
        count = real.shape[0]
        fake = ops.stop_gradient(self.generator([noise[0], classes[0]], training=True))
        both = self._augment(ops.concatenate([real, fake]), ops.reshape(numbers[:2], (2 * count, diffaugment.NUMBERS)))

        def judged() -> tuple[Any, Any]:
            scores = self.discriminator([both, ops.concatenate([of, classes[0]])], training=True)
            return discriminator_loss(scores[:count], scores[count:]), (
                ops.mean(scores[:count]), ops.mean(scores[count:])
            )  # fmt: skip

        def fooled() -> tuple[Any, Any]:
            drawn = self._augment(self.generator([noise[1], classes[1]], training=True), numbers[2])
            return generator_loss(self.discriminator([drawn, classes[1]], training=True)), ()

        d_loss, (d_real, d_fake), d_norm = self._descend(judged, 1)
        g_loss, _, g_norm = self._descend(fooled, 0)
        if self.average is not None:
            follow(self.average, self.generator, decay)
        return [d_loss, g_loss, d_real, d_fake, d_norm, g_norm]

    def _descend(self, loss: Any, which: int) -> tuple[Any, Any, Any]:
        variables = (self.generator, self.discriminator)[which].trainable_variables
        value, more, gradients = backend.gradients(loss, variables, self.state)
        self._optimizers[which].apply(gradients, variables)
        return value, more, norm(gradients)

    def _augment(self, images: Any, numbers: Any) -> Any:
        return diffaugment.augment(images, numbers) if self.augmented else images
