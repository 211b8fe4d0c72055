"""The small residual network that tells slices with tumour from healthy ones."""

import keras
from keras import KerasTensor, layers

from medpipe.errors import InputError
from medpipe.models.embedding import EMBEDDING, MOMENTUM
from medpipe.models.residual import residual_block
from medpipe.params import Resnet


def build(network: Resnet, input_shape: tuple[int, ...]) -> keras.Model:
    """(b, h, w, 3) float32 in [0, 255] -> (b, 1) probability of tumour. Raises InputError below 30 x 30."""
    if min(input_shape[:2]) < 30:
        raise InputError(f"resnet: height and width must be at least 30, are {input_shape[0]} x {input_shape[1]}")
    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in (32, 64):
        x = _convolution(x, filters)
    for filters in (64, 128, 256):
        x = residual_block(x, filters)
    x = _convolution(x, 256)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Flatten()(x)
    for units in (128, 128):
        x = layers.Dense(units, activation="relu")(x)
        x = layers.BatchNormalization(momentum=MOMENTUM)(x)
        x = layers.Dropout(network.dropout)(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=EMBEDDING)(x)
    x = layers.Dense(1, activation="sigmoid", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, x, name="resnet")


def _convolution(x: KerasTensor, filters: int) -> KerasTensor:
    x = layers.Conv2D(filters, 3)(x)
    x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    x = layers.MaxPooling2D(2)(x)
    return layers.ReLU()(x)
