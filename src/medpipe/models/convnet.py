"""The convolutional network that is trained from scratch."""

import keras
from keras import layers

from medpipe.models.embedding import EMBEDDING, MOMENTUM
from medpipe.params import Convnet


def build(network: Convnet, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """(b, h, w, 3) float32 in [0, 255] -> (b, classes) probabilities. Each block halves height and width."""
    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in network.filters:
        # No bias: the batch normalisation that follows has its own.
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=MOMENTUM)(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D(name=EMBEDDING)(x)
    x = layers.Dense(network.units, activation="relu")(x)
    x = layers.Dropout(network.dropout)(x)
    x = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, x, name="convnet")
