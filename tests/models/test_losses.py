"""Losses against their formulas in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from pydantic import TypeAdapter

from medpipe import backend, params
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


def tversky(**settings):
    return loss(name="focal_tversky", **{"alpha": 0.7, "gamma": 0.75, "sums": "batch"} | settings)


@pytest.mark.parametrize(("sums", "axes"), [("batch", (0, 1, 2, 3)), ("image", (1, 2, 3))])
def test_focal_tversky_is_of_all_pixels_of_the_batch_or_a_mean_over_images(sums, axes):
    hit, missed, false = ((a * b).sum(axes) for a, b in ((MASK, SOFT), (MASK, 1 - SOFT), (1 - MASK, SOFT)))
    index = (hit + 1) / (hit + 0.7 * missed + 0.3 * false + 1)
    assert value(tversky(sums=sums), MASK, SOFT) == pytest.approx(((1 - index) ** 0.75).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("sums", "expected"),
    [
        # Of the batch, class 1 has 2 hits of 2, class 2 has 1 hit, a miss and a false pixel.
        ("batch", np.mean([0, (1 - 2 / 3) ** 0.75])),
        # TI: 1 and 2 / 2.7; then 1, and 1 / 1.3 for a class that is not there and is said once.
        ("image", np.mean([0, (1 - 2 / 2.7) ** 0.75, 0, (1 - 1 / 1.3) ** 0.75])),
    ],
)
def test_focal_tversky_of_several_classes_is_their_mean_without_background(sums, expected):
    """Two images of four pixels: of classes 1 and 2 the first is said in full, the second missed by half."""
    truth = np.array([1, 2, 2, 0, 0, 0, 0, 1], "float32").reshape(2, 2, 2, 1)
    p = np.eye(3, dtype="float32")[[1, 2, 0, 0, 0, 0, 2, 1]].reshape(2, 2, 2, 3)
    assert value(tversky(sums=sums), truth, p) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("classes", [1, 2])
def test_an_image_without_the_class_pushes_its_wrong_pixels_down(classes):
    """One image is outlined well, on the other, which has nothing, half of the pixels are said to be marked."""
    truth = np.zeros((2, 32, 32, 1), np.float32)
    truth[0, :16] = 1
    right = np.zeros((2, 32, 32, 1 if classes == 1 else 3), np.float32)
    right[..., -classes] = -3
    right[:, :16, :, -classes] = 3  # the logits: of the second image too
    squash = ops.sigmoid if classes == 1 else ops.softmax
    slopes = backend.gradient(
        lambda logits: tversky()(ops.convert_to_tensor(truth), squash(logits)), ops.convert_to_tensor(right)
    )
    wrong = ops.convert_to_numpy(slopes)[1, :16, :, -classes]
    assert (wrong > 0).all()
    assert wrong.sum() > 0.005  # of the loss of each image: 1e-4


def test_tversky_of_equal_weights_is_dice():
    overlap = (2 * (MASK * SOFT).sum() + 2) / ((MASK + SOFT).sum() + 2)
    assert value(tversky(alpha=0.5, gamma=1.0), MASK, SOFT) == pytest.approx(1 - overlap, rel=1e-5)


def test_tversky_sums_a_batch_of_float16_beyond_what_that_holds():
    """65,504 is the most: 8 images of 128 x 128 pixels are twice that."""
    truth = np.ones((8, 128, 128, 1), np.float16)
    assert value(tversky(), truth, truth / 2) == pytest.approx((1 - 0.5 / (0.5 + 0.7 * 0.5)) ** 0.75, rel=1e-3)


@pytest.mark.parametrize("sums", ["batch", "image"])
def test_images_that_fill_a_batch_up_change_nothing(sums):
    """As Batches fills: the last image again at weight 0, the others' weights such that batches count by their rows."""
    filled, weights = [0, 1, 2, 2, 2], np.array([1.5, 1.5, 1.5, 0, 0], "float32")
    alone = value(tversky(sums=sums), MASK, SOFT)
    assert value(tversky(sums=sums), MASK[filled], SOFT[filled], sample_weight=weights) == pytest.approx(
        alone * 1.5 * 3 / 5, rel=1e-5
    )


def test_more_missed_pixels_cost_more_than_as_many_false_ones():
    function = tversky()
    two, one = np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))
    two[0, 0, :], one[0, 0, 0] = 1, 1
    assert value(function, two, one) > value(function, one, two)


def test_two_empty_masks_cost_nothing():
    empty = np.zeros((1, 4, 4, 1))
    assert value(tversky(), empty, empty) < 1e-4


CASES = [
    ({"name": "crossentropy", "label_smoothing": 0.1}, TRUTH),
    ({"name": "binary_crossentropy", "label_smoothing": 0.0}, np.array([[1.0], [0.0], [1.0]])),
    ({"name": "focal", "gamma": 0.5, "alpha": 1.0}, TRUTH),
    ({"name": "focal", "gamma": 2.0, "alpha": 1.0}, TRUTH),
    ({"name": "focal_tversky", "alpha": 0.7, "gamma": 0.75, "sums": "batch"}, MASK),
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
    function = FocalTversky(alpha=0.6, gamma=0.9, sums="image")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(function))
    assert isinstance(again, FocalTversky)
    assert value(again, MASK, SOFT) == value(function, MASK, SOFT)
