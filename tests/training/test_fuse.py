"""Heads over members' probabilities, fitted in sample and out of fold."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from small_training import ignore

from medpipe.models.delivery import OutOfFold
from medpipe.params import DenseFusion, StackedFusion
from medpipe.training.fuse import fuse

CLASSES, TRAIN, VAL = 3, np.arange(600), np.arange(600, 800)
COMMON = {"task": "skin", "members": ("a", "b"), "inputs": ("a", "b")}
STACKED = StackedFusion(kind="stacked", c=100.0, **COMMON)
LATE = DenseFusion(kind="late", head=(), lr=0.01, epochs=2, batch=32, early_stopping=None, **COMMON)


@pytest.fixture
def members():
    """Two models that say what they read, as probabilities."""
    inputs = [keras.Input((CLASSES,)) for _ in "ab"]
    return [keras.Model(x, keras.layers.Softmax()(ops.log(x + 1e-7))) for x in inputs]


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, CLASSES, len(TRAIN) + len(VAL))


def guesses(seed):
    """Probabilities that say nothing of the class."""
    return np.random.default_rng(seed).dirichlet(np.ones(CLASSES), len(TRAIN) + len(VAL)).astype("float32")


@pytest.mark.parametrize("settings", [STACKED, LATE], ids=["stacked", "late"])
def test_the_head_reads_what_members_said_out_of_fold(members, labels, settings, tmp_path):
    said = [guesses(1), guesses(2)]
    known = [OutOfFold(np.arange(len(labels)), p) for p in said]
    head, history, found = fuse(
        members, [guesses(3), guesses(4)], labels, CLASSES, TRAIN, VAL, settings, known,
        seed=0, checkpoint=tmp_path / "state.npz", on_epoch=ignore,
    )  # fmt: skip
    features = np.concatenate(said, axis=1)
    if settings is STACKED:
        regression = LogisticRegression(C=100.0, max_iter=5000).fit(features[TRAIN], labels[TRAIN])
        expected = regression.predict_proba(features[VAL])
        assert history.empty
    else:
        expected = ops.convert_to_numpy(head(features[VAL]))
        watched = -np.log(expected[np.arange(len(VAL)), labels[VAL]]).mean()
        assert watched == pytest.approx(history["val_loss"].min(), abs=1e-5)
    assert (found.rows == VAL).all()
    np.testing.assert_allclose(found.output, expected, atol=1e-5)


def test_members_that_know_their_training_rows_by_heart_make_an_in_sample_head_too_sure(members, labels, tmp_path):
    heart = np.where(np.isin(np.arange(len(labels)), TRAIN)[:, None], np.eye(CLASSES)[labels], guesses(1))
    inputs = [heart.astype("float32"), guesses(2)]
    known = [OutOfFold(np.arange(len(labels)), p) for p in (guesses(1), guesses(2))]

    def loss(out_of_fold):
        head, _, found = fuse(
            members, inputs, labels, CLASSES, TRAIN, VAL, STACKED, out_of_fold,
            seed=0, checkpoint=tmp_path / "state.npz", on_epoch=ignore,
        )  # fmt: skip
        assert (found is None) == (not out_of_fold)
        p = ops.convert_to_numpy(head(np.concatenate([part[VAL] for part in inputs], axis=1)))
        return log_loss(labels[VAL], p, labels=range(CLASSES))

    assert loss([]) > 1.3 * np.log(CLASSES)
    assert loss(known) < 1.1 * np.log(CLASSES)


def test_a_row_without_an_out_of_fold_prediction_is_an_error(members, labels, tmp_path):
    known = [OutOfFold(TRAIN, guesses(i)[TRAIN]) for i in (1, 2)]
    with pytest.raises(ValueError, match="no out-of-fold prediction"):
        fuse(
            members, [guesses(1), guesses(2)], labels, CLASSES, TRAIN, VAL, STACKED, known,
            seed=0, checkpoint=tmp_path / "state.npz", on_epoch=ignore,
        )  # fmt: skip
