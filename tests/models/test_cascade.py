"""The cascade: its model, its verdict and its threshold."""

import keras
import numpy as np
import pytest
from keras import ops
from small_models import SMALL, pixels

from medpipe.errors import InputError
from medpipe.models import cascade
from medpipe.models.build import build
from medpipe.models.threshold import apply, choose


def test_one_model_gives_both_answers(tmp_path):
    classifier, segmenter = (build(SMALL[name], (32, 32, 3), 2, {}) for name in ("resnet", "resunet"))
    images = pixels(2)
    cascade.compose(classifier, segmenter).save(tmp_path / "model.keras")
    outputs = keras.saving.load_model(tmp_path / "model.keras")(images)
    assert set(outputs) == {"p", "mask"}
    for key, member, shape in (("p", classifier, (2, 1)), ("mask", segmenter, (2, 32, 32, 1))):
        assert outputs[key].shape == shape
        np.testing.assert_allclose(ops.convert_to_numpy(outputs[key]), ops.convert_to_numpy(member(images)), atol=1e-5)


def test_members_of_different_size_are_refused():
    classifier, segmenter = build(SMALL["resnet"], (48, 48, 3), 2, {}), build(SMALL["resunet"], (32, 32, 3), 2, {})
    with pytest.raises(InputError, match=r"reads \(48, 48, 3\), the segmenter \(32, 32, 3\)"):
        cascade.compose(classifier, segmenter)


@pytest.mark.parametrize("shape", [(4, 2, 2), (4, 2, 2, 1)])
def test_verdict(shape):
    mask = np.zeros(shape, "uint8")
    mask[:3, 0] = 1
    p = np.array([[0.9], [0.4], [0.5], [0.9]], "float32")
    tumour, kept = apply(p, mask, 0.5)
    # Above, below, at the threshold; above it with an empty mask.
    np.testing.assert_array_equal(tumour, [True, False, True, False])
    assert kept.dtype == mask.dtype
    np.testing.assert_array_equal(kept[[0, 2]], mask[[0, 2]])
    assert not kept[[1, 3]].any()


@pytest.mark.parametrize(("sensitivity", "expected"), [(1.0, 0.2), (0.75, 0.4), (0.7, 0.4), (0.25, 0.9), (0.01, 0.9)])
def test_threshold(sensitivity, expected):
    p = np.array([0.2, 0.9, 0.95, 0.4, 0.6, 0.1])
    truth = np.array([1, 1, 0, 1, 1, 0])
    threshold = choose(p, truth, sensitivity)
    assert threshold == expected
    reached = [np.mean(p[truth == 1] >= t) >= sensitivity for t in (threshold, np.nextafter(threshold, 1))]
    assert reached == [True, False]


def test_threshold_reaches_the_sensitivity_in_float32():
    p = np.random.default_rng(0).random((100, 1)).astype("float32")
    threshold = choose(p, np.ones(100), 0.07)
    assert np.sum(p >= threshold) == 7


def test_threshold_needs_tumour():
    with pytest.raises(InputError, match="no validation slice has tumour"):
        choose(np.array([0.5]), np.array([0]), 0.9)
