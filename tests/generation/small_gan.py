"""Small adversaries for the tests, and run as a script with KERAS_BACKEND=jax what test_step.py compares."""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from medpipe import backend
from medpipe.generation import diffaugment
from medpipe.generation.layers import ClassBatchNorm, SelfAttention, SpectralConv2D, SpectralDense
from medpipe.generation.sagan import Sum
from medpipe.generation.step import Adversaries, statistics

SIDE, CLASSES, NOISE, BATCH = 8, 2, 3, 4


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


def linear_step(players: Adversaries) -> dict[str, float]:
    """A white pixel is real, z is 1 in the discriminator's turn and 2 in the generator's."""
    of = np.ones((1, 1), np.float32)
    noise = np.array([[[1]], [[2]]], np.float32)
    numbers = np.zeros((3, 1, diffaugment.NUMBERS), np.float32)
    white = np.full((1, 1, 1, 1), 255, np.uint8)
    return statistics(players.step(white, of, noise, np.stack([of, of]), numbers, 0.9))


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


def sagan_steps(players: Adversaries, steps: int = 2) -> list[dict[str, float]]:
    rng, found, eye = np.random.default_rng(0), [], np.eye(CLASSES, dtype=np.float32)
    for _ in range(steps):
        images = rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
        noise = rng.standard_normal((2, BATCH, NOISE), np.float32)
        of, classes = eye[rng.integers(CLASSES, size=BATCH)], eye[rng.integers(CLASSES, size=(2, BATCH))]
        numbers = diffaugment.draw(3 * BATCH, rng).reshape(3, BATCH, -1)
        found.append(statistics(players.step(images, of, noise, classes, numbers, 0.5)))
    return found


if __name__ == "__main__":
    backend.start(0, "float32")
    assert backend.name() == "jax"
    folder, players = Path(sys.argv[1]), sagan()
    with np.load(folder / "start.npz") as file:
        for place, variable in enumerate(players.state):
            variable.assign(file[str(place)])
    found = sagan_steps(players)
    np.savez(folder / "jax.npz", **{str(place): np.array(v) for place, v in enumerate(players.state)})
    print(found)
    print(linear_step(linear()))
