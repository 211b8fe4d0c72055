"""Calibration: temperatures that are known, errors of probabilities that are right, parts that add up."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, log_loss

from medpipe.errors import InputError
from medpipe.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    MEASURES,
    _squared_error,
    bins,
    brier_parts,
    calibration,
    expected_calibration_error,
    fit_temperature,
    rms_calibration_error,
)
from medpipe.evaluation.predictions import Predictions
from medpipe.evaluation.validity import FEWEST
from medpipe.models.temperature import softmax, temper, untemper

CLASSES = ("a", "b", "c")


def drawn(z, seed=0):
    """A label of each row of logits, drawn with their probabilities."""
    return (softmax(z).cumsum(axis=1) < np.random.default_rng(seed).random((len(z), 1))).sum(axis=1)


def logits(rows=20_000, classes=3, seed=1):
    return np.random.default_rng(seed).normal(0, 1.5, (rows, classes))


def predictions(p, truth, groups=None):
    groups = np.arange(len(p)).astype(str).astype(object) if groups is None else groups
    return Predictions(CLASSES[: p.shape[1]], groups, truth, p.argmax(axis=1), p)


def test_three_times_the_logits_have_three_times_the_temperature():
    z = logits()
    truth = drawn(z)
    assert fit_temperature("m", softmax(z), truth) == pytest.approx(1, abs=0.03)
    assert fit_temperature("m", softmax(3 * z), truth) == pytest.approx(3 * fit_temperature("m", softmax(z), truth))


def test_no_other_temperature_has_less_log_loss():
    z = 2.5 * logits(500, seed=2)
    truth = drawn(z / 2.5, seed=3)
    best = fit_temperature("m", softmax(z), truth)
    losses = [log_loss(truth, temper(softmax(z), best * factor)) for factor in (0.97, 1, 1.03)]
    assert min(losses) == losses[1]


def test_one_sigmoid_is_the_second_of_two_classes():
    p = np.random.default_rng(4).random((300, 1)).astype(np.float32)
    truth = (np.random.default_rng(5).random(300) < p[:, 0]).astype(int)
    both = np.concatenate([1 - p.astype(np.float64), p], axis=1)
    assert fit_temperature("m", p, truth) == pytest.approx(fit_temperature("m", both, truth))
    np.testing.assert_allclose(temper(p, 2), temper(both, 2))
    odds = p[:, 0] / (1 - p[:, 0].astype(np.float64))
    np.testing.assert_allclose(temper(p, 2)[:, 1], np.sqrt(odds) / (1 + np.sqrt(odds)))


def test_a_temperature_stays_in_bounds_and_needs_a_row():
    right, truth = np.array([[0.6, 0.4], [0.4, 0.6]] * 500), np.array([0, 1] * 500)
    assert fit_temperature("m", right, truth) == COLDEST
    assert fit_temperature("m", right[::-1], truth) == HOTTEST
    with pytest.raises(InputError, match="m: no validation row"):
        fit_temperature("m", right[:0], truth[:0])


@pytest.mark.parametrize("temperature", [COLDEST, 0.7, 1.0, 3.0, HOTTEST])
def test_labels_stay_and_what_the_model_said_comes_back(temperature):
    p = softmax(8 * logits(2000)).astype(np.float32)
    p[:4] = [[1, 0, 0], [0, 1, 0], [1e-38, 1, 0], [0.33333334, 0.33333331, 0.33333334]]
    tempered = temper(p, temperature)
    np.testing.assert_array_equal(tempered.argmax(axis=1), p.argmax(axis=1))
    np.testing.assert_allclose(untemper(tempered, temperature), p / p.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-37)
    one = np.concatenate([np.linspace(1e-7, 1, 999), [1e-30, 1 - 2**-24]]).astype(np.float32)[:, None]
    np.testing.assert_array_equal(untemper(temper(one, temperature), temperature)[:, 1], one[:, 0])


def once(rows):
    """Each row a group, drawn once: (codes, weights)."""
    return np.arange(rows), np.ones((1, rows))


def test_probabilities_that_are_right_have_next_to_no_error():
    p = softmax(logits(3000, seed=6))
    found, squares = [], []
    for seed in range(20):
        truth = drawn(np.log(p), seed)
        likeliest = p.max(axis=1), p.argmax(axis=1) == truth, *once(3000)
        found.append(rms_calibration_error(*likeliest)[0])
        squares.append(_squared_error(*likeliest)[0])
    assert np.mean(found) < 0.01
    assert abs(np.mean(squares)) < 3 * np.std(squares) / np.sqrt(len(squares))  # no bias


def test_slices_of_a_patient_err_together_and_leave_no_bias():
    """16 patients of 25 slices, whose probabilities are right: half of what decides a slice is its patient's."""
    rng, codes, squares, by_row = np.random.default_rng(0), np.repeat(np.arange(16), 25), [], []
    for _ in range(300):
        said = rng.uniform(0.1, 0.9, 400)
        of_patient = np.repeat(rng.normal(0, np.sqrt(0.5), 16), 25)
        hit = norm.cdf(of_patient + rng.normal(0, np.sqrt(0.5), 400)) < said
        squares.append(_squared_error(said, hit, codes, np.ones((1, 16)))[0])
        by_row.append(_squared_error(said, hit, *once(400))[0])
    deviation = np.std(squares) / np.sqrt(300)
    assert abs(np.mean(squares)) < 3 * deviation
    assert np.mean(by_row) > 5 * deviation  # taking slices for independent sees an error that is not there


def test_the_error_of_probabilities_that_are_wrong_by_so_much_is_so_much():
    """0.9 said and 0.7 true: 0.2; a group drawn twice is two groups, one of two rows is one."""
    said, hit = np.full(1000, 0.9), np.arange(1000) % 10 < 7
    weights = np.stack([np.ones(1000), np.where(hit, 1.0, 0.0), np.full(1000, 2.0)])
    expected = np.sqrt([0.2**2 - 0.7 * 0.3 / 999, 0.1**2, 0.2**2 - 0.7 * 0.3 / 1999])
    np.testing.assert_allclose(rms_calibration_error(said, hit, np.arange(1000), weights), expected)
    twice = [np.repeat(values, 2) for values in (said, hit, np.arange(1000))]
    np.testing.assert_allclose(rms_calibration_error(*twice, weights), expected)
    for measure in (twice, (said, hit, np.arange(1000))):
        np.testing.assert_allclose(expected_calibration_error(*measure, weights), [0.2, 0.1, 0.2])


def test_ece_is_its_definition_in_bins_of_equal_width():
    """A bin holds its upper end: (0, 1/15], (1/15, 2/15] and so on."""
    said = np.array([0.0, 1 / 15, 0.3, 0.31, 0.95, 1.0])
    hit = np.array([0, 1, 1, 0, 1, 1])
    expected = (abs(1 - 1 / 15) + abs(1 - 0.61) + abs(2 - 1.95)) / 6
    assert expected_calibration_error(said, hit, *once(6))[0] == pytest.approx(expected)
    p = softmax(2 * logits(500, seed=11))
    truth, confidence = drawn(np.log(p) / 2, seed=12), p.max(axis=1)
    correct = p.argmax(axis=1) == truth
    ends, expected = np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(ends):
        mine = (confidence > low) & (confidence <= high)
        expected += mine.mean() * abs(correct[mine].mean() - confidence[mine].mean()) if mine.any() else 0.0
    assert expected > 0.05
    assert expected_calibration_error(confidence, correct, *once(500))[0] == pytest.approx(expected)


def test_the_parts_of_the_brier_score_add_up_to_it():
    z = 2 * logits(400, seed=7)
    p = predictions(softmax(z), drawn(z / 2, seed=8))
    parts = brier_parts(p)
    whole = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    whole += parts["within_variance"] - parts["within_covariance"]
    score = sum(brier_score_loss(p.truth == c, p.probabilities[:, c]) for c in range(3))
    assert whole == pytest.approx(score, abs=1e-12)
    assert sum(found["rows"] for found in bins(p)) == 400


def test_what_a_base_rate_says_is_reliable_and_resolves_nothing():
    truth = np.arange(90) % 3
    parts = brier_parts(predictions(np.full((90, 3), 1 / 3), truth))
    assert parts == pytest.approx({"uncertainty": 2 / 3} | dict.fromkeys(set(parts) - {"uncertainty"}, 0))


def test_calibration_is_measured_before_and_after(settings):
    z = logits(3000, seed=9)
    truth, said = drawn(z, seed=10), softmax(3 * z)
    temperature = fit_temperature("m", said, truth)
    groups = (np.arange(3000) // 3).astype(str).astype(object)
    found = calibration(predictions(temper(said, temperature), truth, groups), temperature, settings, 0)
    for when, p in (("before", said), ("after", temper(said, temperature))):
        assert found[when]["log_loss"]["value"] == pytest.approx(log_loss(truth, p), rel=1e-5)
    for measure in MEASURES:
        assert found["after"][measure]["value"] < found["before"][measure]["value"]
        one = found["before"][measure]
        if measure in FEWEST:
            assert 0 < one["low"] < one["value"] < one["high"]
        else:
            assert one["why"] == "it was not shown to cover enough at any size"
