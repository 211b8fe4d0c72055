import numpy as np
import pytest

from medpipe.drift import conformal, directions, martingale
from medpipe.errors import InputError


def seed(number):
    return np.random.SeedSequence(number)


def scores(known, distances):
    """As models.ood gives them."""
    return (1 + len(known) - np.searchsorted(np.sort(known), distances)) / (1 + len(known))


def ranks(n):
    """The scores of n validation rows."""
    return 1 - np.arange(n) / (1 + n)


def test_every_bet_is_fair():
    """Its mean over uniform p is 1, so that capital grows by chance alone."""
    p = (np.arange(400_000) + 0.5) / 400_000
    np.testing.assert_allclose(martingale.distance_bets(p).mean(axis=0), 1, atol=0.02)  # powers are steep at 0
    for share in (0.002, 0.3, 0.95):
        bets = martingale.class_bets(p[:, None], np.full((len(p), 1), share))
        np.testing.assert_allclose(bets.mean(axis=0), 1, atol=1e-4)


def test_capital_is_that_of_the_mixture_over_changes():
    bets = np.array([[2.0, 0.5], [3.0, 0.1]])
    half, change = martingale.AT_ONCE / 2, martingale.CHANGES
    idle = 1 - martingale.AT_ONCE
    first = (half + idle * change / 2) * bets[0]
    idle *= 1 - change
    second = (first + idle * change / 2) * bets[1]
    expected = [idle + first.sum(), idle * (1 - change) + second.sum()]
    np.testing.assert_allclose(10 ** martingale.capital(bets), expected)


def test_certainty_does_not_overflow():
    path = martingale.capital(martingale.distance_bets(np.full(5000, 1e-6)))
    assert np.isfinite(path).all()
    assert path[-1] > 1000


def test_p_values_are_uniform_and_independent_whatever_the_validation_rows():
    """Even against 20 rows, with which all are compared; those of the rows alone are not."""
    rng = np.random.default_rng(0)
    found, alone = [], []
    for number in range(300):
        known = rng.exponential(size=20)
        said = scores(known, rng.exponential(size=200))
        found.append(conformal.of_scores(said, ranks(20), 20, seed(number)))
        alone.append(said)
    p = np.array(found)
    np.testing.assert_allclose(np.quantile(p, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.01)
    fair = 1 / 12 / 200  # the variance of a mean of 200 uniform values
    assert p.mean(axis=1).var() == pytest.approx(fair, rel=0.25)
    assert np.array(alone).mean(axis=1).var() > 4 * fair


def test_a_farther_case_has_a_lower_p_value():
    known = np.arange(99.0)
    assert (conformal.of_scores(scores(known, np.full(5, 1e9)), ranks(99), 99, seed(0)) < 0.07).all()
    assert (conformal.of_scores(scores(known, np.full(5, -1.0)), ranks(99), 99, seed(0)) > 0.93).all()


def test_classes_give_uniform_p_values_too():
    rng, share = np.random.default_rng(0), [0.7, 0.25, 0.05]
    found = []
    for number in range(300):
        validation = rng.multinomial(20, share)
        found.append(conformal.of_classes(rng.choice(3, 200, p=share), validation, seed(number))[0])
    p = np.array(found)
    np.testing.assert_allclose(
        np.quantile(p, [0.1, 0.5, 0.9], axis=(0, 1)), np.tile([[0.1], [0.5], [0.9]], 3), atol=0.01
    )
    assert p.mean(axis=1).var(axis=0) == pytest.approx([1 / 12 / 200] * 3, rel=0.3)


def test_values_with_ties_give_uniform_p_values_too():
    rng = np.random.default_rng(0)
    p = np.array([conformal.of_values(rng.integers(0, 4, (200, 2)), seed(number)) for number in range(300)])
    np.testing.assert_allclose(
        np.quantile(p, [0.1, 0.5, 0.9], axis=(0, 1)), np.tile([[0.1], [0.5], [0.9]], 2), atol=0.01
    )
    assert p.mean(axis=1).var(axis=0) == pytest.approx([1 / 12 / 200] * 2, rel=0.3)


def test_larger_values_have_lower_p_values():
    values = np.stack([np.arange(9), -np.arange(9)], axis=1)
    p = conformal.of_values(values, seed(0)) * np.arange(1, 10)[:, None]
    assert (np.floor(p) == np.stack([np.zeros(9), np.arange(9)], axis=1)).all()


def test_the_first_cases_axes_are_the_others_coordinates():
    """Of two features on one line and a third, independent one, in whatever units."""
    rng = np.random.default_rng(0)
    both, third = rng.normal(size=(2, directions.FIRST + 50))
    found = directions.along(np.stack([both, 100 * both, 0.01 * third], axis=1))
    assert found.shape == (50, 3)
    for axis, expected in enumerate((both, third)):
        assert abs(np.corrcoef(found[:, axis], expected[directions.FIRST :])[0, 1]) > 0.98
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-6)


def test_embeddings_without_drift_rarely_alarm():
    """Dependent, heavy-tailed and few to fix the axes, of 150 times 500; benchmarks/drift.py has more."""
    rng, alarms = np.random.default_rng(0), 0
    for number in range(150):
        common = rng.standard_t(3, size=(500, 2))
        embedding = np.concatenate([common, common**2, rng.random((500, 1))], axis=1).astype(np.float32)
        path = directions.path(embedding, seed(number))
        alarms += martingale.alarm(path, martingale.limit(3)) is not None
    assert alarms <= 1


def test_a_longer_log_has_the_same_p_values_first():
    said = scores(np.arange(50.0), np.random.default_rng(0).random(40) * 50)
    short, long = (conformal.of_scores(said[:n], ranks(50), 50, seed(3)) for n in (30, 40))
    np.testing.assert_array_equal(short, long[:30])
    classes = np.arange(40) % 2
    short, long = (conformal.of_classes(classes[:n], np.array([9, 1]), seed(3))[0] for n in (30, 40))
    np.testing.assert_array_equal(short, long[:30])
    embedding = np.random.default_rng(0).normal(size=(directions.FIRST + 40, 5)).astype(np.float32)
    whole = directions.path(embedding, seed(3))
    for n in (30, directions.FIRST, directions.FIRST + 30):
        np.testing.assert_array_equal(directions.path(embedding[:n], seed(3)), whole[:n])


def test_false_alarms_are_rare_and_changes_found():
    """Of 500 times 1,000 cases; benchmarks/drift.py has more."""
    rng = np.random.default_rng(1)
    same, apart = rng.random((1000, 500)), rng.random((1000, 500))
    apart[500:] **= 2
    alarms = [
        (martingale.capital(martingale.distance_bets(p)) >= martingale.limit(2)).any(axis=0).mean()
        for p in (same, apart)
    ]
    assert alarms[0] <= 0.01
    assert alarms[1] > 0.95


def test_scores_of_other_rows_are_refused():
    with pytest.raises(InputError, match="is none of 10 validation rows"):
        conformal.of_scores(np.array([0.5]), ranks(10), 10, seed(0))
