"""Run by test_backbone.py with an empty KERAS_HOME and no network: builds a MobileNetV2 before and after filling it."""

import os
from pathlib import Path

import keras
import numpy as np
from small_models import MOBILENET

from medpipe.errors import InputError
from medpipe.models import backbone

SHAPE = (96, 96, 3)
SETTINGS = MOBILENET.model_copy(update={"weights": "imagenet"})

try:
    backbone.build(SETTINGS, SHAPE, 3, {})
except InputError as error:
    print(str(error).replace("\n", " "))

# Keras checks no hash of MobileNetV2's file, so that another network's weights can stand in.
cached = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=SHAPE, alpha=0.35)
name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
cached.save(Path(os.environ["KERAS_HOME"], "models", name))
loaded = backbone.build(SETTINGS, SHAPE, 3, {})
np.testing.assert_array_equal(loaded.get_layer("Conv1").get_weights()[0], cached.get_layer("Conv1").get_weights()[0])
print("cached weights loaded")
