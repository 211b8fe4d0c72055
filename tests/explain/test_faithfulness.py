"""Pointing game, insertion and deletion by hand."""

import numpy as np
import pytest

from medpipe.explain.faithfulness import deletion, insertion, pointing_game


def test_the_pointing_game_counts_hits_and_shares_ties():
    mask = np.zeros((4, 4, 5), bool)
    mask[:, :2, :2] = True
    maps = np.zeros((4, 4, 5))
    maps[0, 1, 1] = 1
    maps[1, 3, 3] = 1
    maps[2, 0, [0, 1, 2]] = 1
    np.testing.assert_allclose(pointing_game(maps, mask), [1, 0, 2 / 3, 4 / 20])  # the last map says nothing


@pytest.fixture
def halves():
    """Of each image the left half is what a model counts, as the share of pixels that show."""
    images = np.zeros((2, 10, 10, 3), np.uint8)
    images[:, :, :5] = 200
    heat = np.zeros((2, 10, 10))
    heat[0, :, :5] = 1  # right
    heat[1, :, 5:] = 1  # wrong
    return (lambda batch: (batch[:, :, :5, 0] == 200).mean(axis=(1, 2))[:, None]), images, heat


def test_the_areas_are_those_of_the_triangles(halves):
    np.testing.assert_allclose(deletion(*halves, [1, 1], 10), [0.25, 0.75])
    np.testing.assert_allclose(insertion(*halves, [1, 1], 10), [0.75, 0.25])
    np.testing.assert_allclose(insertion(*halves, [0, 0], 10), [0.25, 0.75])
