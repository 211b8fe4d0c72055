"""What Keras' backbones are made of, beside the layers of our own networks (test_contract)."""

import keras
import numpy as np
import pytest
from keras import applications, layers
from small_models import pixels

from medpipe.errors import InputError
from medpipe.models.export import export
from medpipe.serving.session import Session


def pieces():
    """Of odd sides and with strides, so that each padding counts."""
    inputs = keras.Input((33, 30, 3), name="image")
    caffe = applications.resnet.preprocess_input(inputs)  # takes channels apart, as VGG's and ResNet's
    torch = applications.densenet.preprocess_input(inputs)
    x = layers.Concatenate()([layers.Rescaling([1 / 64, 1 / 32, 1 / 16], offset=[0, 1, 2])(caffe), torch])
    x = layers.Normalization(mean=np.arange(6.0), variance=np.arange(1.0, 7))(x)
    x = layers.ZeroPadding2D(((0, 1), (1, 2)))(x)
    x = layers.Conv2D(6, 3, strides=2, padding="same", groups=3, activation="gelu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", dilation_rate=2, activation="hard_silu")(x)
    x = layers.SeparableConv2D(8, 3, padding="same", activation="silu")(x)
    x = layers.Add()(
        [layers.AveragePooling2D(3, strides=2, padding="same")(x), layers.MaxPooling2D(2, padding="same")(x)]
    )
    x = layers.LayerNormalization()(x)
    x = layers.Dense(8, activation="relu6")(x) * 0.5 - 0.1
    weight = layers.Reshape((1, 1, 8))(layers.GlobalMaxPooling2D()(x))
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="hard_sigmoid")(weight)])
    x = layers.Cropping2D(((1, 0), (0, 1)))(layers.UpSampling2D(2)(x))
    x = layers.GlobalAveragePooling2D(keepdims=True)(layers.ReLU(1.5)(x))
    return keras.Model(inputs, {"b": layers.Flatten()(x), "a": layers.Flatten()(x + 1)}, name="pieces")


def test_every_piece_gives_what_keras_gives():
    model, images = pieces(), pixels(3, 33)[:, :, :30]
    expected = {name: np.asarray(values) for name, values in model(images, training=False).items()}
    found = Session(export(model)).predict_on_batch(images)
    assert list(found) == ["b", "a"]
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    assert np.ptp(expected["b"], axis=0).max() > 1e-3


def test_what_is_not_exported_is_named():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Conv2DTranspose(2, 3, name="up")(inputs), name="decoder")
    with pytest.raises(InputError, match="decoder: layer 'up' is a Conv2DTranspose, which is not exported to ONNX"):
        export(model)
    model = keras.Model(inputs, layers.Activation("softsign", name="soft")(inputs), name="odd")
    with pytest.raises(InputError, match=r"odd: layer 'soft' \(Activation\): activation softsign is not exported"):
        export(model)
