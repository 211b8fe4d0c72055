"""Small learners for the tests, and run as a script with KERAS_BACKEND=jax what test_step.py compares."""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from medpipe import backend
from medpipe.generation import diffaugment, edm, unet
from medpipe.generation.adversaries import Adversaries
from medpipe.generation.diffusion import Diffusion
from medpipe.generation.draw import draw_new
from medpipe.generation.layers import ClassBatchNorm, SelfAttention, SpectralConv2D, SpectralDense
from medpipe.generation.learner import Learner, named
from medpipe.generation.sagan import Sum
from medpipe.params import Unet

SIDE, CLASSES, NOISE, BATCH = 8, 2, 3, 4
WHITE, ONE = np.full((1, 1, 1, 1), 255, np.uint8), np.ones((1, 1), np.float32)
UNET = Unet(channels=4, multipliers=(1,), blocks=1, attention=1)


def linear() -> Adversaries:
    """One pixel: the generator makes 0.5 z of noise z, the discriminator scores an image x as 0.2 x."""
    noise, of = keras.Input((1,)), keras.Input((1,))
    pixel = layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(0.5))

    def generator():
        return keras.Model([noise, of], layers.Reshape((1, 1, 1))(pixel(noise)))

    image = keras.Input((1, 1, 1))
    score = layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(0.2))
    discriminator = keras.Model([image, of], layers.Reshape(())(score(layers.Flatten()(image))))
    first = generator()
    return Adversaries(first, discriminator, keras.models.clone_model(first), (0.1, 0.4), (0.0, 0.999), False)


def linear_step(learner: Adversaries) -> dict[str, float]:
    """A white pixel is real, z is 1 in the discriminator's turn and 2 in the generator's."""
    noise = np.array([[[1]], [[2]]], np.float32)
    numbers = np.zeros((3, 1, diffaugment.NUMBERS), np.float32)
    return named(learner, learner.step(WHITE, ONE, (noise, np.stack([ONE, ONE]), numbers), 0.9))


def scaled() -> Diffusion:
    """One pixel: of what the network is shown, x, it makes 0.5 x."""

    def network():
        image, level, of = keras.Input((1, 1, 1)), keras.Input(()), keras.Input((1,))
        scale = layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(0.5))
        return keras.Model([image, level, of], scale(image))

    return Diffusion(network(), edm.build(network(), 1), 0.1, (0.9, 0.999))


def scaled_step(learner: Diffusion) -> dict[str, float]:
    """A white pixel, and 1 times a level of 0.5 laid over it."""
    return named(
        learner, learner.step(WHITE, ONE, (np.ones((1, 1, 1, 1), np.float32), np.full(1, 0.5, np.float32)), 0.9)
    )


def sagan() -> Adversaries:
    """Every layer of a SAGAN once: to compile all of them takes JAX a minute."""

    def generator():
        noise, of = keras.Input((NOISE,)), keras.Input((CLASSES,))
        x = layers.Reshape((4, 4, 2))(SpectralDense(32)(noise))
        x = layers.UpSampling2D()(layers.ReLU()(ClassBatchNorm()([x, of])))
        return keras.Model([noise, of], layers.Activation("tanh")(SpectralConv2D(3, 3)(SelfAttention()(x))))

    image, of = keras.Input((SIDE, SIDE, 3)), keras.Input((CLASSES,))
    x = Sum()(layers.ReLU()(SelfAttention()(SpectralConv2D(2, 3)(image))))
    score = layers.Add()([SpectralDense(1)(x), layers.Dot(1)([x, SpectralDense(2, use_bias=False)(of)])])
    discriminator = keras.Model([image, of], layers.Reshape(())(score))
    return Adversaries(generator(), discriminator, generator(), (1e-3, 1e-3), (0.0, 0.999), augmented=True)


def diffusion() -> Diffusion:
    """A U-Net with attention, and no weight that is 0 and so keeps others from learning."""
    rng, networks = np.random.default_rng(0), [unet.build(UNET, SIDE, CLASSES) for _ in range(2)]
    for variable in networks[0].trainable_variables:
        variable.assign(np.array(variable) + rng.normal(0, 0.1, variable.shape))
    return Diffusion(networks[0], edm.build(networks[1], 3), 1e-3, (0.9, 0.999))


def steps(learner: Learner, count: int = 2) -> list[dict[str, float]]:
    rng, found, eye = np.random.default_rng(0), [], np.eye(CLASSES, dtype=np.float32)
    for _ in range(count):
        images = rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
        of = eye[rng.integers(CLASSES, size=BATCH)]
        found.append(named(learner, learner.step(images, of, learner.random(of, rng), 0.5)))
    return found


def drawn(learner: Learner) -> np.ndarray:
    return draw_new(learner.drawn, np.eye(CLASSES, dtype=np.float32), [0])


MADE = {"sagan": sagan, "edm": diffusion}

if __name__ == "__main__":
    backend.start(0, "float32")
    assert backend.name() == "jax"
    folder, found = Path(sys.argv[1]), {"by hand": [linear_step(linear()), scaled_step(scaled())]}
    for kind, make in MADE.items():
        learner = make()
        with np.load(folder / f"{kind}.npz") as file:
            for place, variable in enumerate(learner.state):
                variable.assign(file[str(place)])
        found[kind] = steps(learner)
        ended = {str(place): np.array(variable) for place, variable in enumerate(learner.state)}
        np.savez(folder / f"{kind}-jax.npz", images=drawn(learner), **ended)
    print(found)
