"""The perceptron imputes and scales by itself."""

import numpy as np
import pytest
from small_models import STATS

from medpipe.errors import InputError
from medpipe.models import mlp
from medpipe.params import Mlp


def test_it_is_the_closed_form():
    model = mlp.build(Mlp(units=(4, 3), dropout=0.5), (2,), 3, STATS)
    x = np.array([[80, 1], [np.nan, np.nan], [0, 0]])
    w1, b1, w2, b2, w3, b3 = (np.asarray(w) for w in model.weights)
    z = (np.where(np.isnan(x), STATS["fill"], x) - STATS["mean"]) / STATS["std"]
    embedding = np.maximum(np.maximum(z @ w1 + b1, 0) @ w2 + b2, 0)
    odds = np.exp(embedding @ w3 + b3)
    np.testing.assert_allclose(np.asarray(model(x.astype("float32"))), odds / odds.sum(1, keepdims=True), atol=1e-6)
    assert model.get_layer("embedding").output.shape == (None, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"fill": [1.0]}, "2 values a key"), ({"std": [16.0, 0.0]}, "deviation of 'sex_male' is 0.0")],
)
def test_statistics_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        mlp.build(Mlp(units=(4,), dropout=0.0), (2,), 3, STATS | change)


def test_a_hidden_layer_is_needed():
    with pytest.raises(InputError, match="at least one hidden layer"):
        mlp.build(Mlp(units=(), dropout=0.0), (2,), 3, STATS)
