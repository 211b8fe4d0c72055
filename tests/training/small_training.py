"""Small models, data and recipes for the tests of training."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from medpipe import params
from medpipe.training.batches import Samples

PUBLISHED = params.load(Path(__file__).parents[2]).models
USUAL = params.Augmentation(
    probability=1.0, horizontal_flip=True, vertical_flip=True, rotation=20, zoom=0.1, shift=0.1, shear=5, brightness=0.1
)


def recipe(name: str, **changes: object) -> params.Recipe:
    """A published recipe with other settings; those of its network as a dict under `network`."""
    published = PUBLISHED[name]
    if "network" in changes:
        changes["network"] = published.network.model_copy(update=changes["network"])
    return published.model_copy(update=changes)


def images(count: int = 36, side: int = 16, classes: int = 3) -> Samples:
    """Noisy images, brighter by class; one-hot targets. All rows."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    pixels = rng.normal(60 + 60 * labels[:, None, None, None], 25, (count, side, side, 3)).clip(0, 255)
    return Samples(pixels.astype(np.uint8), np.eye(classes, dtype=np.float32)[labels], np.arange(count))


def part(samples: Samples, start: int, stop: int) -> Samples:
    return Samples(samples.inputs, samples.targets, samples.rows[start:stop])


def network(dropout: float = 0.3, side: int = 16, classes: int = 3) -> keras.Model:
    """As backbones are built: convolution, batch norm and dropout before `embedding`; dropout and softmax after it."""
    inputs = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="first")(x)
    x = layers.BatchNormalization(momentum=0.5)(x)
    x = layers.Dropout(dropout)(x)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax", dtype="float32")(x), name="small")


def linear(features: int = 2, classes: int = 2) -> keras.Model:
    """Softmax regression that starts at zero."""
    inputs = keras.Input((features,))
    outputs = layers.Dense(classes, activation="softmax", kernel_initializer="zeros")(inputs)
    return keras.Model(inputs, outputs, name="linear")


def ignore(epoch: int, logs: dict[str, float]) -> None:
    """An `on_epoch` that does nothing."""
