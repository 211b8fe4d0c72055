"""A small classifier of images and metadata, not trained, and a case for it."""

from io import BytesIO

import keras
from declared import EIGHT_BIT
from keras import layers
from PIL import Image

from medpipe.params import Category, Number

IMAGES = {"task": "skin", "kind": "images", "square": False, "sizes": (16,), "equalise": False}
IMAGES |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}
FEATURES = {
    "age": Number(range=(0, 120), bands=()),
    "sex": Category(values=("male", "female")),
    "localization": Category(values=("back", "lower extremity")),
}
TABLE = {"task": "skin", "kind": "table", "features": {name: one.model_dump() for name, one in FEATURES.items()}}
CASE = {"age": 45, "sex": "male", "localization": "back"}


def png(size=(20, 10), value=0):
    buffer = BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def early(deliver, folder):
    """The folder of a classifier of images and metadata."""
    image, table = keras.Input((16, 16, 3)), keras.Input((5,))
    joined = layers.Concatenate()([layers.GlobalAveragePooling2D()(image), table])
    model = keras.Model([image, table], layers.Dense(2, activation="softmax")(joined))
    names = ("age", "sex_male", "sex_female", "localization_back", "localization_lower extremity")
    about = {"classes": ("mel", "nv"), "variants": (IMAGES, TABLE), "features": ((), names)}
    return deliver(folder, model, **about)
