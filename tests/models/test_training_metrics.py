"""Dice while training, against masks counted by hand."""

import numpy as np

from medpipe.models.metrics import dice


def test_dice_of_each_image():
    truth, predicted = np.zeros((4, 2, 2, 1), "float32"), np.zeros((4, 2, 2, 1), "float32")
    truth[0, 0], predicted[0, 0] = 1, 0.9  # agree
    truth[1, 0], predicted[1, 1] = 1, 0.9  # two missed, two false
    truth[2, 0, 0], predicted[2, 0] = 1, 0.5  # one hit, one false
    predicted[3] = 0.49  # both empty
    np.testing.assert_allclose(np.asarray(dice(truth, predicted)), [1, 0, 2 / 3, 1], rtol=1e-6)
