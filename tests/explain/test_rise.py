"""RISE against its formula, and on probabilities of a known pixel."""

import numpy as np
import pytest

from medpipe.explain.rise import BATCH, draw, rise


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (1, 24, 30, 3)).astype(np.uint8)


def test_masks_are_soft_and_even():
    drawn = np.concatenate(list(draw((24, 30), 500, 5, 1)))
    assert drawn.shape == (500, 24, 30)
    assert drawn.min() == 0
    assert drawn.max() == 1
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < 0.08
    np.testing.assert_array_equal(drawn, np.concatenate(list(draw((24, 30), 500, 5, 1))))
    assert (drawn != np.concatenate(list(draw((24, 30), 500, 5, 2)))).any()


def test_the_map_is_the_mean_probability_over_the_masks(image):
    weights = np.random.default_rng(1).random((24, 30, 3)) / (24 * 30 * 3 * 255)
    sizes = []

    def predict(batch):
        sizes.append(len(batch))
        p = (batch * weights).sum(axis=(1, 2, 3))
        return np.stack([p, 1 - p], 1)

    found = rise(predict, image, [0], 70, 5, 3)
    drawn = np.concatenate(list(draw((24, 30), 70, 5, 3))).astype(np.float64)
    pixels = image[0].astype(np.float64)
    mean = pixels.mean(axis=(0, 1))
    p = [((mean + mask[:, :, None] * (pixels - mean)) * weights).sum() for mask in drawn]
    expected = np.average(np.broadcast_to(np.array(p)[:, None, None], drawn.shape), axis=0, weights=drawn)
    expected = (expected - expected.min()) / np.ptp(expected)
    np.testing.assert_allclose(found[0], expected, atol=1e-3)
    assert sizes == [BATCH, BATCH, 6]
    np.testing.assert_allclose(rise(predict, image, [1], 70, 5, 3), 1 - found, atol=1e-3)


def test_the_pixel_that_decides_is_found(image):
    image[:] = 0
    image[0, 8, 21] = 255
    found = rise(lambda batch: batch[:, 8, 21, :1] / 255, image, [1], 800, 6, 0)[0]
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert (abs(y - 8) <= 3) & (abs(x - 21) <= 3)  # within a cell of 4 x 5 pixels
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == (0, 1)


def test_without_a_difference_the_map_is_empty(image):
    assert not rise(lambda batch: np.full((len(batch), 1), 0.5), image, [1], 40, 5, 0).any()
