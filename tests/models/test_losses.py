"""Losses against their formulas in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from pydantic import TypeAdapter

from medpipe import params
from medpipe.models.losses import FocalTversky, build_loss

TRUTH = np.eye(4)[[0, 2, 3]]
P = np.array([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.05, 0.9, 0.04, 0.01]])
MASK = np.random.default_rng(0).integers(0, 2, (3, 8, 8, 1)).astype("float32")
SOFT = np.random.default_rng(1).random((3, 8, 8, 1)).astype("float32")


def loss(**settings):
    return build_loss(TypeAdapter(params.Loss).validate_python(settings))


def value(function, truth, predicted, **extra):
    return float(function(truth, predicted, **extra))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_crossentropy(smoothing):
    target = TRUTH * (1 - smoothing) + smoothing / 4
    expected = -(target * np.log(P)).sum(1).mean()
    assert value(loss(name="crossentropy", label_smoothing=smoothing), TRUTH, P) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_crossentropy(smoothing):
    truth, p = np.array([[1.0], [0.0], [1.0]]), np.array([[0.9], [0.2], [0.3]])
    target = truth * (1 - smoothing) + smoothing / 2
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    function = loss(name="binary_crossentropy", label_smoothing=smoothing)
    assert value(function, truth, p) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 1.0), (0.5, 0.25)])
def test_focal(gamma, alpha):
    p = (TRUTH * P).sum(1)
    expected = (-alpha * (1 - p) ** gamma * np.log(p)).mean()
    assert value(loss(name="focal", gamma=gamma, alpha=alpha), TRUTH, P) == pytest.approx(expected, rel=1e-5)


def test_focal_without_focus_is_crossentropy():
    plain = value(loss(name="crossentropy", label_smoothing=0.0), TRUTH, P)
    assert value(loss(name="focal", gamma=0.0, alpha=1.0), TRUTH, P) == pytest.approx(plain, rel=1e-5)


def test_focal_tversky_is_a_mean_over_images():
    hit, missed, false = ((a * b).sum((1, 2, 3)) for a, b in ((MASK, SOFT), (MASK, 1 - SOFT), (1 - MASK, SOFT)))
    index = hit / (hit + 0.7 * missed + 0.3 * false)
    expected = ((1 - index) ** 0.75).mean()
    assert value(loss(name="focal_tversky", alpha=0.7, gamma=0.75), MASK, SOFT) == pytest.approx(expected, rel=1e-5)


def test_focal_tversky_of_several_classes_is_their_mean_without_background():
    """Two images of four pixels: of classes 1 and 2 the first is said in full, the second missed by half."""
    truth = np.array([1, 2, 2, 0, 0, 0, 0, 1], "float32").reshape(2, 2, 2, 1)
    p = np.eye(3, dtype="float32")[[1, 2, 0, 0, 0, 0, 2, 1]].reshape(2, 2, 2, 3)
    # TI: 1 and 1 / (1 + 0.7); then 1, and 0 for a class that is not there and is said once.
    expected = np.mean([0, (1 - 1 / 1.7) ** 0.75, 0, 1])
    assert value(loss(name="focal_tversky", alpha=0.7, gamma=0.75), truth, p) == pytest.approx(expected, abs=1e-4)


def test_tversky_of_equal_weights_is_dice():
    overlap = 2 * (MASK * SOFT).sum((1, 2, 3)) / (MASK + SOFT).sum((1, 2, 3))
    expected = 1 - overlap.mean()
    assert value(loss(name="focal_tversky", alpha=0.5, gamma=1.0), MASK, SOFT) == pytest.approx(expected, rel=1e-5)


def test_more_missed_pixels_cost_more_than_as_many_false_ones():
    function = loss(name="focal_tversky", alpha=0.7, gamma=0.75)
    two, one = np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))
    two[0, 0, :], one[0, 0, 0] = 1, 1
    assert value(function, two, one) > value(function, one, two)


def test_two_empty_masks_cost_nothing():
    empty = np.zeros((1, 4, 4, 1))
    assert value(loss(name="focal_tversky", alpha=0.7, gamma=0.75), empty, empty) < 1e-4


CASES = [
    ({"name": "crossentropy", "label_smoothing": 0.1}, TRUTH),
    ({"name": "binary_crossentropy", "label_smoothing": 0.0}, np.array([[1.0], [0.0], [1.0]])),
    ({"name": "focal", "gamma": 0.5, "alpha": 1.0}, TRUTH),
    ({"name": "focal", "gamma": 2.0, "alpha": 1.0}, TRUTH),
    ({"name": "focal_tversky", "alpha": 0.7, "gamma": 0.75}, MASK),
]


@pytest.mark.parametrize(("settings", "truth"), CASES)
@pytest.mark.parametrize("right", [True, False])
def test_gradients_are_finite_where_probabilities_are_0_and_1(settings, truth, right):
    function, truth = loss(**settings), truth.astype("float32")
    p = tf.Variable(truth if right else 1 - truth)
    with tf.GradientTape() as tape:
        value = function(ops.convert_to_tensor(truth), p)
    assert np.isfinite(tape.gradient(value, p)).all()


@pytest.mark.parametrize(("settings", "truth"), CASES)
def test_sample_weights_count_and_float16_is_computed_in_float32(settings, truth):
    function, truth = loss(**settings), truth.astype("float32")
    predicted = np.random.default_rng(2).random(truth.shape).astype("float32")
    alone = value(function, truth[:1], predicted[:1])
    weighted = value(function, truth, predicted, sample_weight=np.array([3.0, 0.0, 0.0], "float32"))
    assert weighted == pytest.approx(alone, rel=1e-4)
    half = predicted.astype("float16")
    assert value(function, truth, half) == pytest.approx(value(function, truth, half.astype("float32")), rel=1e-6)


def test_focal_tversky_serialises():
    function = FocalTversky(alpha=0.6, gamma=0.9)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(function))
    assert isinstance(again, FocalTversky)
    assert value(again, MASK, SOFT) == value(function, MASK, SOFT)
