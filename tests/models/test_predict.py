"""Predictions over flips: what they are the mean of, and that masks come back the right way round."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_models import SIDE, pixels

from medpipe.models.predict import predict

ROWS = np.arange(3)


def by_pixel():
    """A segmenter that looks at each pixel by itself, so that flips change nothing."""
    image = keras.Input((SIDE, SIDE, 3))
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(layers.Rescaling(1 / 255)(image)))


def corner():
    """A classifier that says the top left pixel's red and green, of a value from 0 to 255."""
    image = keras.Input((SIDE, SIDE, 3))
    return keras.Model(image, image[:, 0, 0, :2])


@pytest.mark.parametrize("flips", [["horizontal"], ["vertical"], ["vertical", "horizontal"]])
def test_masks_of_a_model_to_which_flips_are_nothing_stay_as_they_are(flips):
    model, images = by_pixel(), pixels()
    plain = predict(model, [images], ROWS)["output"]
    assert np.ptp(plain) > 0.01
    np.testing.assert_allclose(predict(model, [images], ROWS, flips=flips)["output"], plain, atol=1e-6)


@pytest.mark.parametrize(
    ("flips", "corners"),
    [
        ([], [(0, 0)]),
        (["horizontal"], [(0, 0), (0, -1)]),
        (["vertical"], [(0, 0), (-1, 0)]),
        (["horizontal", "vertical"], [(0, 0), (0, -1), (-1, 0), (-1, -1)]),
    ],
)
def test_probabilities_are_the_mean_over_every_combination(flips, corners):
    images = pixels()
    expected = np.mean([images[:, row, column, :2] for row, column in corners], axis=0)
    found = predict(corner(), [images], np.array([2, 0, 1]), batch=2, flips=flips)["output"]
    np.testing.assert_allclose(found, expected[[2, 0, 1]], rtol=1e-6)


def test_a_mask_is_turned_back_before_the_mean():
    """The model marks the left half whatever it sees: half of the passes mark each side."""
    image = keras.Input((SIDE, SIDE, 3))
    half = image[:, :, : SIDE // 2, :1]
    mask = ops.concatenate([ops.ones_like(half), ops.zeros_like(half)], axis=2)
    model = keras.Model(image, {"mask": mask, "tumour": image[:, 0, 0, :1]})
    images = pixels()
    kept = predict(model, [images], ROWS, flips=["vertical"])["mask"]
    assert (kept[:, :, : SIDE // 2] == 1).all()
    assert not kept[:, :, SIDE // 2 :].any()
    found = predict(model, [images], ROWS, flips=["horizontal"])
    assert (found["mask"] == 0.5).all()
    np.testing.assert_allclose(found["tumour"][:, 0], images[:, 0, [0, -1], 0].mean(axis=1))


def test_a_table_stays_as_it_is():
    image, table = keras.Input((SIDE, SIDE, 3)), keras.Input((2,))
    model = keras.Model([table, image], ops.concatenate([table, image[:, 0, 0]], axis=1))
    images, features = pixels(), np.array([[1, 2], [3, 4], [5, 6]], "float32")
    found = predict(model, [features, images], ROWS, flips=["horizontal"])["output"]
    np.testing.assert_array_equal(found[:, :2], features)
    np.testing.assert_allclose(found[:, 2:], images[:, 0, [0, -1]].mean(axis=1))
