"""What is delivered computes as it is served: TensorFloat-32, emulated by rounding operands, and NaN are refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from medpipe.errors import InputError
from medpipe.evaluation import ood
from medpipe.evaluation.calibration import fit_temperature
from medpipe.evaluation.exported import exported

SIDE, ROWS = 32, 8


def to_tf32(x):
    """Rounded to nearest to 10 of float32's 23 bits of mantissa, as an Ampere GPU does with operands."""
    bits = tf.bitcast(tf.cast(x, tf.float32), tf.int32)
    return tf.bitcast((bits + (1 << 12)) & ~((1 << 13) - 1), tf.float32)


@pytest.fixture
def tf32(monkeypatch):
    """Within, convolutions and products of Keras' layers round their operands."""
    from keras.src import ops

    def rounding(own):
        return lambda a, b, *args, **named: own(to_tf32(a), to_tf32(b), *args, **named)

    for name in ("conv", "matmul"):
        monkeypatch.setattr(ops, name, rounding(getattr(ops, name)))


@pytest.fixture
def model():
    """Deep and random; it tells its images apart, as a trained one does."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 127.5, -1)(x)
    for _ in range(12):
        x = layers.Conv2D(16, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    sure = keras.initializers.RandomNormal(stddev=0.05)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", kernel_initializer=sure)(layers.Flatten()(x)))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (ROWS, SIDE, SIDE, 3)).astype(np.uint8)


def deliver(model, images):
    return exported("m", model, [images], np.arange(ROWS), ())


def test_what_was_computed_in_float32_is_what_is_served_and_in_tf32_it_is_not(model, images, request):
    assert deliver(model, images)
    request.getfixturevalue("tf32")
    traced_again = keras.models.clone_model(model, clone_function=lambda layer: layer)
    with pytest.raises(InputError, match="m: on ONNX Runtime the model's output differs by 0.0"):
        deliver(traced_again, images)


def test_nan_is_no_agreement(model, images):
    model.layers[-1].set_weights([np.full_like(weight, np.nan) for weight in model.layers[-1].get_weights()])
    with pytest.raises(InputError, match="differs by nan"):
        deliver(model, images)


def test_nothing_is_fitted_on_what_is_not_a_number():
    p, embedding = np.full((6, 2), 0.5), np.random.default_rng(0).normal(size=(6, 3))
    p[4] = embedding[5, 1] = np.nan
    with pytest.raises(InputError, match="m: probabilities: not a number in 1 of 6 rows, first in row 4"):
        fit_temperature("m", p, np.arange(6) % 2)
    for training, validation in ((embedding, embedding[:4]), (embedding[:4], embedding)):
        with pytest.raises(InputError, match="embedding: not a number in 1 of"):
            ood.fit(training, np.arange(len(training)) % 2, validation)
