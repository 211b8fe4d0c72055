"""The residual U-Net that says what each pixel of an image shows."""

import keras
from keras import layers

from medpipe.errors import InputError
from medpipe.models.embedding import MOMENTUM
from medpipe.models.residual import residual_block


def build(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """(b, h, w, 3) float32 in [0, 255] -> probabilities of each pixel, of `classes`, the first of which is background:
    (b, h, w, 1) of the second of two, as published, else (b, h, w, classes).

    Each slice is standardised by its own mean and deviation. U-Net: arXiv 1505.04597; residual: arXiv 1711.10684.
    Raises InputError where height or width is no multiple of 16: four poolings halve them.
    """
    if any(side % 16 for side in input_shape[:2]):
        raise InputError(f"resunet: height and width must be multiples of 16, are {input_shape[0]} x {input_shape[1]}")
    inputs = keras.Input(input_shape, name="image")
    x = layers.LayerNormalization(axis=[1, 2, 3], center=False, scale=False, name="standardise")(inputs)
    for _ in range(2):
        # As in the original: here ReLU stands before the normalisation, in the residual blocks behind it.
        x = layers.Conv2D(16, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
        x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    skips = []
    for filters in (32, 64, 128, 256):
        skips.append(x)
        x = residual_block(layers.MaxPooling2D(2)(x), filters)
    for filters in (128, 64, 32, 16):
        x = layers.Concatenate()([layers.UpSampling2D(2)(x), skips.pop()])
        x = residual_block(x, filters)
    outputs, activation = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    x = layers.Conv2D(outputs, 1, activation=activation, dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, x, name="resunet")
