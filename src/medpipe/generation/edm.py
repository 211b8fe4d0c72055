"""EDM (arXiv 2206.00364): a diffusion model by class, whose network takes noise away from images, and which so makes
images of noise.
"""

from typing import Any

import keras
from keras import layers, ops

from medpipe.generation import unet
from medpipe.generation.denoising import HIGHEST, denoised, levels, solve
from medpipe.generation.diffusion import Diffusion
from medpipe.generation.layers import PACKAGE
from medpipe.params import EdmRecipe


def learner(settings: EdmRecipe, side: int, classes: int) -> Diffusion:
    """What trains, and within it the generator. Raises SettingError for a side that does not fit the network."""
    network, average = (unet.build(settings.network, side, classes) for _ in range(2))
    return Diffusion(network, build(average, settings.heun), settings.lr, settings.betas)


def build(network: keras.Model, steps: int) -> keras.Model:
    """Noise (b, h * w * 3), from a standard normal, and one-hot classes (b, classes) -> images (b, h, w, 3), [-1, 1].

    `network` is a U-Net; it is looked at twice in each of `steps` steps, in the last once. Between two classes lie the
    shares of both.
    """
    image, _, of = network.inputs
    height, width, channels = image.shape[1:]
    noise, of = keras.Input((height * width * channels,), name="noise"), keras.Input(of.shape[1:], name="class")
    images = Sampler(network, steps)([layers.Reshape((height, width, channels))(noise), of])
    return keras.Model([noise, of], images, name="generator")


@keras.saving.register_keras_serializable(PACKAGE)
class Sampler(layers.Layer):
    """[(b, h, w, 3) of a standard normal, (b, classes)] -> images (b, h, w, 3) in [-1, 1]."""

    def __init__(self, network: keras.Model, steps: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network, self.steps = network, steps

    def call(self, inputs: list[Any]) -> Any:
        noise, of = inputs

        def found(images: Any, level: Any) -> Any:
            return denoised(self.network, images, ops.broadcast_to(level, (ops.shape(images)[0],)), of)

        return ops.clip(solve(found, noise * HIGHEST, levels(self.steps)), -1, 1)

    def compute_output_shape(self, shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Sampler":
        return cls(**config | {"network": keras.saving.deserialize_keras_object(config["network"])})
