"""Backbones: each sees pixels as it was trained to, and carries the head that the recipe asks for."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from small_models import MOBILENET, pixels

from medpipe.errors import InputError
from medpipe.models import backbone
from medpipe.models.embedding import extractor, unfreeze_layers

REAL = os.environ.get("MEDPIPE_REAL_WEIGHTS", "")
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))


def network(**values):
    """Settings of a small MobileNetV2 from a random start, with changes."""
    return MOBILENET.model_copy(update=values)


def kinds(model):
    """Layers from the embedding on: Dense by its units."""
    names = [layer.name for layer in model.layers]
    after = model.layers[names.index("embedding") :]
    return [layer.units if isinstance(layer, layers.Dense) else type(layer).__name__ for layer in after]


@pytest.mark.parametrize("name", backbone.BACKBONES)
def test_each_backbone_has_its_own_preprocessing(name):
    create, preprocess = backbone.BACKBONES[name]
    assert create.__name__ == name
    assert create.__module__ == preprocess.__module__


def untouched(x):
    return x


def signed(x):
    return x / 127.5 - 1


def standardised(x):
    return (x / 255 - IMAGENET[0]) / IMAGENET[1]


def caffe(x):
    return x[..., ::-1] - [103.939, 116.779, 123.68]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ConvNeXtTiny", untouched),
        ("EfficientNetB0", untouched),
        ("EfficientNetV2M", untouched),
        ("MobileNetV3Small", untouched),
        ("InceptionResNetV2", signed),
        ("InceptionV3", signed),
        ("MobileNet", signed),
        ("MobileNetV2", signed),
        ("NASNetMobile", signed),
        ("ResNet50V2", signed),
        ("Xception", signed),
        ("DenseNet169", standardised),
        ("ResNet50", caffe),
        ("VGG16", caffe),
        ("VGG19", caffe),
    ],
)
def test_preprocessing_is_the_closed_form_and_saves(name, expected, tmp_path):
    inputs = keras.Input((2, 2, 3))
    x = backbone.BACKBONES[name][1](inputs)
    keras.Model(inputs, layers.Flatten()(x)).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    pixels = np.array([[0, 255, 128, 3, 7, 200, 255, 0, 0, 1, 2, 3]], "float32").reshape(1, 2, 2, 3)
    np.testing.assert_allclose(np.asarray(model(pixels)), expected(pixels).reshape(1, -1), atol=1e-4)


def test_heads():
    small = (32, 32, 3)
    # System C: dropout before the softmax.
    model = backbone.build(network(dropout=0.3), small, 7, {})
    assert kinds(model) == ["GlobalAveragePooling2D", "Dropout", 7]
    # System A
    model = backbone.build(network(head=(6, 5)), small, 7, {})
    assert kinds(model) == ["GlobalAveragePooling2D", 6, 5, 7]
    # System E
    model = backbone.build(network(head=(6, 5), batch_norm=True, dropout=0.4, pooling="flatten"), small, 3, {})
    normalised = ["BatchNormalization", 6, "Dropout", "BatchNormalization", 5, "Dropout", 3]
    assert kinds(model) == ["Flatten", *normalised]
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="'EfficientNetB9' is none of .*EfficientNetB0"):
        backbone.build(network(backbone="EfficientNetB9"), (32, 32, 3), 3, {})
    with pytest.raises(InputError, match="MobileNetV2: .*'width'"):
        backbone.build(network(options={"width": 2.0}), (32, 32, 3), 3, {})
    with pytest.raises(InputError, match=r"Xception: .*at least 71x71"):
        backbone.build(network(backbone="Xception", options={}), (64, 64, 3), 3, {})


def test_a_custom_layer_of_keras_loads_again(tmp_path):
    """ConvNeXt's LayerScale is the only custom layer among the backbones."""
    model = backbone.build(network(backbone="ConvNeXtTiny", options={}), (32, 32, 3), 3, {})
    model.save(tmp_path / "model.keras")
    images = np.full((1, 32, 32, 3), 90, "float32")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(model(images)))


def test_a_fine_tuned_efficientnet_is_the_same_after_saving(tmp_path):
    """It was not always: github.com/keras-team/keras/issues/20147."""
    model = backbone.build(network(backbone="EfficientNetB0", options={}), (32, 32, 3), 3, {})
    unfreeze_layers(model, 40, freeze_norm=False)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="categorical_crossentropy", run_eagerly=True)
    images = pixels(4, 32)
    start = np.asarray(model(images))
    for _ in range(3):
        model.train_on_batch(images, np.eye(3, dtype="float32")[[0, 1, 2, 0]])
    tuned = np.asarray(model(images))
    assert np.abs(tuned - start).max() > 1e-3
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(np.asarray(again(images)), tuned, atol=1e-6)


@pytest.mark.parametrize("file", ["b0.weights.h5", "b0.keras"])
def test_efficientnet_sees_the_same_from_a_path_as_from_keras(file, tmp_path):
    """Keras' files hold ImageNet's deviation as the variance, and make up for it only under weights="imagenet"; so do
    our models that were trained from there.
    """
    published = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    normalization = next(layer for layer in published.layers if isinstance(layer, layers.Normalization))
    normalization.set_weights([*IMAGENET, np.array(0)])
    if file == "b0.keras":
        ours = layers.GlobalAveragePooling2D(name="embedding")(published.output)
        keras.Model(published.input, ours).save(tmp_path / file)
    else:
        published.save_weights(tmp_path / file)

    weights = str(tmp_path / file)
    model = backbone.build(network(backbone="EfficientNetB0", options={}, weights=weights), (32, 32, 3), 3, {})
    seen = keras.Model(model.inputs[0], model.get_layer("stem_conv_pad").input)
    images = pixels(1, 32)
    expected = (images / 255 - IMAGENET[0]) / IMAGENET[1]
    np.testing.assert_allclose(np.asarray(seen(images)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        # As published for EfficientNet-B0: pixels standardised by the data's own figures.
        ("EfficientNetB0", "stem_conv_pad", lambda z: z),
        ("MobileNet", "conv1", lambda z: (z * IMAGENET[1] + IMAGENET[0]) * 2 - 1),
    ],
)
def test_the_datas_own_normalisation(name, layer, expected):
    channels = {"mean": [195.0, 138.0, 145.0], "std": [35.0, 40.0, 45.0]}
    settings = network(backbone=name, options={}, normalise="data")
    model = backbone.build(settings, (32, 32, 3), 3, {"channels": channels})
    seen = keras.Model(model.inputs[0], model.get_layer(layer).input)
    images = pixels(2, 32)
    standardised = (images - np.array(channels["mean"])) / np.array(channels["std"])
    np.testing.assert_allclose(np.asarray(seen(images)), expected(standardised), atol=1e-3)


@pytest.mark.skipif(not REAL, reason="MEDPIPE_REAL_WEIGHTS names no folder")
@pytest.mark.parametrize(
    ("name", "alpha", "file"),
    [
        ("MobileNet", 0.75, "mobilenet_0.75_224_notop.weights.h5"),
        ("MobileNetV2", 0.35, "mobilenet_v2_0.35_224_notop.weights.h5"),
    ],
)
def test_real_weights(name, alpha, file):
    path = Path(REAL, file)
    settings = network(backbone=name, options={"alpha": alpha}, weights=str(path))
    model = backbone.build(settings, (96, 96, 3), 3, {})
    create, _ = backbone.BACKBONES[name]
    keras_own = create(include_top=False, weights=None, input_shape=(96, 96, 3), alpha=alpha, pooling="avg")
    keras_own.load_weights(path)
    images = pixels(2, 96)
    embedded = np.asarray(extractor(model)(images))
    np.testing.assert_allclose(embedded, np.asarray(keras_own(images / 127.5 - 1)), atol=1e-3)


def test_imagenet_comes_from_the_cache_or_says_what_to_do(tmp_path):
    """In a process of its own: Keras reads KERAS_HOME while it is imported. The proxy refuses at once."""
    script = Path(__file__).with_name("imagenet_cache.py")
    network = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = os.environ | network | {"KERAS_HOME": str(tmp_path), "no_proxy": ""}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    file = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
    error, result = done.stdout.strip().splitlines()[-2:]
    assert file in error
    assert "KERAS_HOME/models" in error
    assert "path of a .weights.h5" in error
    assert "://" not in error
    assert result == "cached weights loaded"
