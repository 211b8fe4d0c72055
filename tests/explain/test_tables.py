"""SHAP values against their closed form for a linear model."""

import numpy as np
import pytest

from medpipe.errors import InputError
from medpipe.evaluation.evaluate import _of
from medpipe.explain.tables import mean_shap, readable
from medpipe.models.delivery import Delivery

FEATURES = ["age", "sex_male", "localization_lower extremity", "localization_back"]


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    table = np.column_stack(
        [rng.integers(0, 85, 80), rng.random(80) < 0.5, rng.random(80) < 0.3, rng.random(80) < 0.4]
    ).astype(np.float32)
    table[3, 0] = np.nan

    def predict(rows):
        assert rows.dtype == np.float32
        return 0.2 * np.nan_to_num(rows[:, 0], nan=45) / 85 + 0.1 * rows[:, 1]

    training, rows = table[:40], table[40:]
    return training, rows, [mean_shap(predict, training, rows, FEATURES, seed=1) for _ in range(2)]


def test_linear_model(found):
    training, rows, (values, again) = found
    age, male = np.nan_to_num(training[:, 0], nan=45).mean(), training[:, 1].mean()
    assert values["age"] == pytest.approx(0.2 / 85 * np.abs(rows[:, 0] - age).mean(), rel=1e-4)
    assert values["sex: male"] == pytest.approx(0.1 * np.abs(rows[:, 1] - male).mean(), rel=1e-4)
    assert values[["localization: back", "localization: lower extremity"]].to_numpy() == pytest.approx(0, abs=1e-6)
    assert values.index.tolist()[:2] == ["sex: male", "age"]
    assert values.equals(again)


def test_features_are_shown_by_name():
    assert readable("localization_lower extremity") == "localization: lower extremity"
    assert readable("age") == "age"


@pytest.mark.parametrize(("merge", "found"), [({}, "mel"), ({"malignant": ["mel", "bcc"]}, "malignant")])
def test_the_class_is_followed_into_the_one_that_it_was_merged_into(merge, found):
    delivered = Delivery(
        name="m", task="skin", kind="classifier", classes=("nv", found), inputs=(), variants=(), features=(), stats={},
        threshold=None, settings={"merge": merge},
    )  # fmt: skip
    assert _of(delivered, "mel", "explain") == found
    with pytest.raises(InputError, match=r"evaluate\.explain\.skin: 'df' is no class of m: nv, "):
        _of(delivered, "df", "explain")
