import numpy as np
import pandas as pd
import pytest
from small_training import recipe

from medpipe.errors import SettingError
from medpipe.training.selection import class_targets, class_weights, select, thin, undersample

CLASSES = ("healthy", "tumour")
LABELS = np.array([0] * 60 + [1] * 20 + [0] * 15 + [1] * 5)
TABLE = pd.DataFrame({"set": ["train"] * 80 + ["val"] * 20})
BRAIN = recipe("brain-classifier", undersample=None)


def test_sets_come_whole_and_in_order():
    train, val = select(TABLE, CLASSES, LABELS, BRAIN, 0, None)
    assert np.array_equal(train, np.arange(80))
    assert np.array_equal(val, np.arange(80, 100))


def test_only_keeps_one_class_of_both_sets():
    train, val = select(TABLE, CLASSES, LABELS, recipe("brain-resunet"), 0, None)
    assert np.array_equal(train, np.arange(60, 80))
    assert np.array_equal(val, np.arange(95, 100))


def test_undersampling_caps_the_common_class_of_training_alone():
    train, val = select(TABLE, CLASSES, LABELS, recipe("brain-classifier", undersample=1.5), 0, None)
    assert np.bincount(LABELS[train]).tolist() == [30, 20]
    assert (np.diff(train) > 0).all()
    assert len(val) == 20
    rows = np.arange(80)
    assert np.array_equal(undersample(rows, LABELS, 1.5, 0), train)
    assert not np.array_equal(undersample(rows, LABELS, 1.5, 1), train)


@pytest.mark.parametrize(("most", "counts"), [(40, [30, 10]), (4, [3, 1]), (2, [1, 1]), (500, [60, 20])])
def test_thinning_keeps_the_shares(most, counts):
    assert np.bincount(LABELS[thin(np.arange(80), LABELS, most, 3)]).tolist() == counts


def test_what_cannot_be_selected_is_named():
    with pytest.raises(SettingError, match="set 'val' has no row of tumour"):
        select(TABLE[:80], CLASSES, LABELS[:80], recipe("brain-resunet"), 0, None)


def test_targets():
    labels = np.array([1, 0, 1])
    assert class_targets(labels, CLASSES, BRAIN).tolist() == [[1], [0], [1]]
    one_hot = class_targets(labels, ("a", "b", "c"), recipe("skin-b4"))
    assert one_hot.dtype == np.float32
    assert one_hot.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    with pytest.raises(SettingError, match="two classes, not 3"):
        class_targets(labels, ("a", "b", "c"), BRAIN)


def test_balanced_weights_have_mean_1_over_the_classes():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights(np.eye(3, dtype=np.float32)[labels], "abc", "balanced")
    by_class = [weights[labels == c][0] for c in range(3)]
    # 1/6 : 1/3 : 1 over their mean.
    np.testing.assert_allclose(by_class, [1 / 3, 2 / 3, 2], rtol=1e-6)
    assert np.mean(by_class) == pytest.approx(1)


def test_balanced_weights_of_a_binary_target():
    weights = class_weights(np.array([[0], [0], [0], [1]], np.float32), CLASSES, "balanced")
    np.testing.assert_allclose(weights, [0.5, 0.5, 0.5, 1.5])


def test_weights_by_name_come_in_the_order_of_the_classes():
    targets = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    given = {"b": 2.0, "c": 3.0, "a": 1.0}
    np.testing.assert_array_equal(class_weights(targets, ("a", "b", "c"), given), [3, 1, 2])


def test_a_class_without_rows_has_no_weight():
    with pytest.raises(SettingError, match="class_weights: no training row of class b"):
        class_weights(np.eye(3, dtype=np.float32)[[0, 2]], "abc", "balanced")
    with pytest.raises(SettingError, match="class_weights: for classes alone"):
        class_weights(np.zeros((2, 4, 4), np.float32), CLASSES, "balanced")


@pytest.mark.parametrize("name", ["train", "val"])
def test_a_class_absent_from_a_set_is_named(name):
    table = TABLE.copy()
    table.loc[(TABLE["set"] == name) & (LABELS == 1), "set"] = "test"
    with pytest.raises(SettingError, match=f"set '{name}' has no row of tumour"):
        select(table, CLASSES, LABELS, BRAIN, 0, None)
