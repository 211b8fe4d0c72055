"""Scaling, sizes and colours of heat maps; the modules that a service needs load without Keras."""

import subprocess
import sys

import numpy as np
from matplotlib import colormaps

from medpipe.explain.maps import OPACITY, VIRIDIS, colour, enlarge, overlay, scale


def test_maps_are_scaled_by_their_largest_value():
    maps = np.array([[[-1, 0], [2, 4]], [[-3, -2], [-1, 0]]], np.float32)
    np.testing.assert_array_equal(scale(maps), [[[0, 0], [0.5, 1]], [[0, 0], [0, 0]]])


def test_enlarging_keeps_what_is_even_and_where_the_largest_is():
    even = enlarge(np.full((1, 4, 4), 0.3, np.float32), (30, 50))
    assert even.shape == (1, 30, 50)
    np.testing.assert_allclose(even, 0.3, rtol=1e-6)
    one = np.zeros((1, 4, 4), np.float32)
    one[0, 1, 3] = 1
    large = enlarge(one, (40, 40))[0]
    assert large[15, 35] == large.max() > 0.9  # the middle of its cell
    assert not large[:, :20].any()


def test_colours_are_viridis():
    heat = np.linspace(0, 1, 257)
    expected = 255 * colormaps["viridis"](heat)[:, :3]
    assert np.abs(colour(heat) - expected).max() < 6
    np.testing.assert_array_equal(colour(np.array([0.0, 1.0])), VIRIDIS[[0, -1]])


def test_the_image_shows_through_in_grey():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0] = (30, 60, 90)
    found = overlay(image, np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(found[0, 0], (OPACITY * VIRIDIS[0] + (1 - OPACITY) * 60).round())
    np.testing.assert_array_equal(found[1, 0], (OPACITY * VIRIDIS[0]).round())


def test_a_service_needs_no_keras():
    script = "import sys, medpipe.explain.faithfulness, medpipe.explain.maps, medpipe.explain.rise; "
    script += "sys.exit(len({'keras', 'tensorflow', 'jax', 'matplotlib', 'cv2', 'scipy', 'pandas'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", script], check=True)
