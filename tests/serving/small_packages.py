"""Small models, not trained, and what goes into them and comes out."""

import keras
import numpy as np
from declared import EIGHT_BIT
from keras import layers, ops
from PIL import Image

from medpipe.models.predict import predict

SIZE = 32
IMAGES = {"task": "skin", "kind": "images", "square": False, "sizes": (48, SIZE), "equalise": False}
IMAGES |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}
SLICES = IMAGES | {"task": "brain", "sizes": (SIZE,), "mask_values": {"tumour": (255,)}}
DECLARED = {
    "age": {"range": (0, 120), "bands": ()},
    "sex": {"values": ("male", "female")},
    "localization": {"values": ("back", "lower extremity")},
}
TABLE = {"task": "skin", "kind": "table", "features": DECLARED}
FEATURES = ("age", "sex_male", "sex_female", "sex_unknown", "localization_back", "localization_lower extremity")
FEATURES += ("localization_unknown",)
CLASSES = ("mel", "nv", "vasc")
HEALTH = ("healthy", "tumour")
PIXELS = 10_000  # at most; the cases have 70 x 50
FLIPS = ("horizontal", "vertical")
SERVED = {"flips": FLIPS, "temperature": 1.7, "rule": None}


def convolutional(units, activation):
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(4, 3, strides=4, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(units, activation=activation, name="probabilities")(layers.Flatten()(x)))


def fused():
    table = keras.Input((len(FEATURES),), name="table")
    x = ops.where(ops.isnan(table), np.float32(0.5), table) / 10
    images = convolutional(4, "relu")
    x = layers.Concatenate()([x, images.output])
    return keras.Model([table, images.input], layers.Dense(len(CLASSES), activation="softmax")(x))


def segmenting():
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(layers.Rescaling(1 / 64, offset=-2)(inputs))
    return keras.Model(inputs, x)


def images(cases, sizes):
    read = []
    for path in cases["image"]:
        image = Image.open(path).convert("RGB")
        for size in sizes:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        read.append(np.asarray(image))
    return np.stack(read)


def evaluated(model, *inputs):
    """The outputs that evaluate measures."""
    return predict(model, inputs, np.arange(len(inputs[0])), flips=FLIPS)
