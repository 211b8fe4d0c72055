"""The weights of an ensemble."""

import numpy as np
import pytest
from declared import TASKS
from scipy.optimize import minimize

from medpipe.errors import InputError
from medpipe.evaluation.mixture import choose_weights, maximise
from medpipe.models.temperature import temper

SKIN = TASKS["skin"].classes


def loss(w, chances):
    return -np.log(chances @ w).mean()


@pytest.mark.parametrize("members", [2, 3, 5])
def test_the_weights_are_the_optimum_that_scipy_finds(members):
    random = np.random.default_rng(members)
    chances = random.beta(2, 1, (300, members)) * np.linspace(0.6, 1, members)
    found = maximise(chances)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    whole = {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(
        loss, np.full(members, 1 / members), (chances,), "SLSQP", bounds=[(0, 1)] * members, constraints=whole
    )
    assert loss(found, chances) <= best.fun + 1e-6
    np.testing.assert_allclose(found, best.x, atol=0.01)


def test_of_two_that_are_right_on_different_rows_each_gets_its_share():
    """log(0.9 w + 0.1 (1 - w)) three times and log(0.1 w + 0.9 (1 - w)) once: its derivative is 0 at w = 0.8125."""
    chances = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]])
    np.testing.assert_allclose(maximise(chances), [0.8125, 0.1875], atol=2e-3)


def test_identical_members_share_alike_and_a_perfect_one_takes_all():
    same = np.random.default_rng(0).random((50, 1)).repeat(3, axis=1)
    np.testing.assert_allclose(maximise(same), 1 / 3)
    perfect = np.stack([np.full(50, 0.4), np.ones(50), np.full(50, 0.9)], axis=1)
    np.testing.assert_allclose(maximise(perfect), [0, 1, 0], atol=1e-4)


def test_a_row_that_all_members_think_impossible_breaks_nothing():
    np.testing.assert_allclose(maximise(np.array([[0.0, 0.0], [0.2, 0.9]])), [0, 1], atol=1e-4)


def test_validation_alone_chooses(classifier_table):
    tables = {"a": classifier_table(skill=0.2, seed=1), "b": classifier_table(skill=1.5, seed=2)}
    chosen = choose_weights(tables, SKIN)
    assert chosen[1] > 0.9
    changed = {name: table.copy() for name, table in tables.items()}
    test = changed["b"]["set"] == "test"
    changed["b"].loc[test, [f"p_{name}" for name in SKIN]] = 1 / len(SKIN)
    assert choose_weights(changed, SKIN) == chosen


def test_members_are_weighed_as_they_were_before_their_temperatures(classifier_table):
    tables = {"a": classifier_table(skill=0.9, seed=1), "b": classifier_table(skill=1.1, seed=2)}
    columns = [f"p_{name}" for name in SKIN]
    softened = {name: table.copy() for name, table in tables.items()}
    softened["a"][columns] = temper(tables["a"][columns].to_numpy(), 3.0)
    softened["a"]["temperature"] = 3.0
    assert choose_weights(softened, SKIN) == pytest.approx(choose_weights(tables, SKIN), abs=1e-4)


def test_the_order_of_rows_does_not_matter_and_other_rows_are_refused_by_name(classifier_table):
    a, b = (classifier_table(seed=seed, sets=("val",)) for seed in (1, 2))
    shuffled = b.sample(frac=1, random_state=0)
    assert choose_weights({"a": a, "b": shuffled}, SKIN) == choose_weights({"a": a, "b": b}, SKIN)
    with pytest.raises(InputError, match="b and a were not evaluated on the same rows: ISIC_0000003"):
        choose_weights({"a": a, "b": b.drop(index=3)}, SKIN)
    moved = b.assign(label=b["label"].where(b["id"] != "ISIC_0000002", SKIN[0]))
    with pytest.raises(InputError, match="b and a have another label for ISIC_0000002"):
        choose_weights({"a": a, "b": moved}, SKIN)
