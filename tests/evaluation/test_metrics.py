"""Metrics against figures computed by hand and by scikit-learn."""

import math

import numpy as np
import pytest
from declared import TASKS
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from medpipe.errors import InputError
from medpipe.evaluation.metrics import absent, classification_metrics, confusion, zero_r
from medpipe.evaluation.predictions import Predictions, classified

SKIN = TASKS["skin"].classes


def made(truth, probabilities, classes=("a", "b", "c")):
    probabilities = np.array(probabilities, float)
    groups = np.array([str(i) for i in range(len(truth))], object)
    return Predictions(classes, groups, np.array(truth), probabilities.argmax(axis=1), probabilities)


def test_by_hand():
    # a: 2 rows, 1 found; b: 2 rows, both found, and one a taken for b; c: 1 row, taken for a.
    p = made([0, 0, 1, 1, 2], [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0], [0.5, 0.1, 0.4]])
    found = classification_metrics(p)
    assert confusion(p) == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    expected = {
        "accuracy": 3 / 5,
        "balanced_accuracy": (1 / 2 + 1 + 0) / 3,
        "precision:a": 1 / 2,
        "recall:a": 1 / 2,
        "f1:a": 1 / 2,
        "precision:b": 2 / 3,
        "recall:b": 1,
        "f1:b": 4 / 5,
        "f1:c": 0,
        "macro_f1": (1 / 2 + 4 / 5 + 0) / 3,
        "weighted_f1": (2 * 1 / 2 + 2 * 4 / 5 + 0) / 5,
        "weighted_precision": (2 * 1 / 2 + 2 * 2 / 3) / 5,
        # a's scores .8 .3 against .2 .1 .5: five of six pairs in order.
        "roc_auc:a": 5 / 6,
        "roc_auc:b": 1,
        "roc_auc:c": 1,
        "roc_auc": (5 / 6 + 2) / 3,
        # a is found first and third.
        "average_precision:a": (1 + 2 / 3) / 2,
        "log_loss": -np.log([0.8, 0.3, 0.7, 0.9, 0.4]).mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_equals_scikit_learn(classifier_table):
    p = classified("m", classifier_table(), SKIN)
    found, t, y, q = classification_metrics(p), p.truth, p.predicted, p.probabilities
    assert found["accuracy"] == accuracy_score(t, y)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(t, y))
    for average in ("macro", "weighted"):
        assert found[f"{average}_precision"] == pytest.approx(precision_score(t, y, average=average))
        assert found[f"{average}_recall"] == pytest.approx(recall_score(t, y, average=average))
        assert found[f"{average}_f1"] == pytest.approx(f1_score(t, y, average=average))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(t, q, multi_class="ovr", average="macro"))
    assert found["average_precision"] == pytest.approx(average_precision_score(np.eye(7)[t], q, average="macro"))
    assert found["log_loss"] == pytest.approx(log_loss(t, q))
    assert [found[f"f1:{name}"] for name in SKIN] == pytest.approx(list(f1_score(t, y, average=None)))


def test_absent_class_has_no_figure_and_no_part_in_the_averages():
    p = made([0, 0, 1], [[0.8, 0.1, 0.1], [0.2, 0.1, 0.7], [0.3, 0.6, 0.1]])
    found = classification_metrics(p)
    assert absent(p) == ["c"]
    for metric in ("precision:c", "recall:c", "f1:c", "roc_auc:c", "average_precision:c"):
        assert math.isnan(found[metric])
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["roc_auc"] == pytest.approx((0.5 + 1) / 2)


def test_one_class_alone_has_no_auc():
    found = classification_metrics(made([0, 0], [[0.8, 0.1, 0.1], [0.2, 0.1, 0.7]]))
    assert math.isnan(found["roc_auc"])
    assert found["average_precision:a"] == 1


def test_zero_r_says_the_majority_of_training():
    p = made([0, 0, 0, 1], np.eye(3)[[0, 0, 0, 1]])
    found = zero_r(p, {"a": 2, "b": 9})
    assert found["label"] == "b"
    assert found["accuracy"] == 1 / 4
    assert found["balanced_accuracy"] == 1 / 2
    assert found["macro_f1"] == pytest.approx((0 + 2 / 5) / 2)
    with pytest.raises(InputError, match="training rows of x"):
        zero_r(p, {"x": 1})
