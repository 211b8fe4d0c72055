"""Dice and macro F1 while training, against masks counted by hand and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from medpipe.models.metrics import MacroF1, dice


def test_dice_of_each_image():
    truth, predicted = np.zeros((4, 2, 2, 1), "float32"), np.zeros((4, 2, 2, 1), "float32")
    truth[0, 0], predicted[0, 0] = 1, 0.9  # agree
    truth[1, 0], predicted[1, 1] = 1, 0.9  # two missed, two false
    truth[2, 0, 0], predicted[2, 0] = 1, 0.5  # one hit, one false
    predicted[3] = 0.49  # both empty
    np.testing.assert_allclose(np.asarray(dice(truth, predicted)), [1, 0, 2 / 3, 1], rtol=1e-6)


def test_dice_of_each_image_is_the_mean_over_classes():
    truth = np.array([1, 2, 2, 0, 0, 0, 0, 0], "float32").reshape(2, 2, 2, 1)
    p = np.full((8, 3), 0.25, "float32")
    p[np.arange(8), [1, 2, 0, 0, 0, 0, 0, 0]] = 0.5
    np.testing.assert_allclose(np.asarray(dice(truth, p.reshape(2, 2, 2, 3))), [(1 + 2 / 3) / 2, 1], rtol=1e-6)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_macro_f1_over_batches_is_that_of_all_rows(outputs):
    random = np.random.default_rng(outputs)
    classes = max(2, outputs)
    truth, p = random.integers(0, classes, 50), random.random((50, outputs)).astype("float32")
    said = (p[:, 0] >= 0.5).astype(int) if outputs == 1 else p.argmax(1)
    targets = truth[:, None].astype("float32") if outputs == 1 else np.eye(classes, dtype="float32")[truth]
    metric = MacroF1(classes)
    metric.update_state(targets[:10], p[:10])
    metric.reset_state()
    for start in range(0, 50, 16):
        metric.update_state(targets[start : start + 16], p[start : start + 16])
    assert float(metric.result()) == pytest.approx(f1_score(truth, said, average="macro"))
    metric.update_state(targets, 1 - p, sample_weight=np.zeros(50))  # rows that only fill a batch up
    assert float(metric.result()) == pytest.approx(f1_score(truth, said, average="macro"))


def test_macro_f1_is_of_the_classes_that_occur():
    """F1 of the first 2/3 and of the second 0; the third does not occur."""
    metric = MacroF1(3)
    metric.update_state(np.eye(3, dtype="float32")[[0, 1]], np.eye(3, dtype="float32")[[0, 0]])
    assert float(metric.result()) == pytest.approx(1 / 3)
