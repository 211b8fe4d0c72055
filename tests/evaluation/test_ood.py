"""The out-of-distribution score: closed forms, its calibration, and the file."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ncx2
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from medpipe.errors import InputError
from medpipe.evaluation.ood import fit, measure
from medpipe.evaluation.predictions import subgroup_columns
from medpipe.models import ood

RNG = np.random.default_rng(0)
MIXING = RNG.normal(size=(6, 6))  # of features that hang together
CENTRES = 10 * RNG.normal(size=(3, 6))


def drawn(count, shift=0.0, seed=1):
    """Rows of three classes far from each other, of one covariance; `shift` in its standard deviations."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    noise = rng.normal(size=(count, 6))
    noise[:, 0] += shift
    return CENTRES[labels] + noise @ MIXING, labels


@pytest.fixture(scope="module")
def detector():
    return fit(*drawn(6000), drawn(1999, seed=2)[0])


def test_the_area_between_two_gaussians_is_the_analytic_one(detector):
    inside, outside = detector.distance(drawn(6000, seed=3)[0]), detector.distance(drawn(6000, shift=2.5, seed=4)[0])
    grid = np.linspace(0.001, 0.999, 999)
    # The squares follow chi2(6), central and with the square of the shift.
    analytic = ncx2.sf(ncx2.ppf(grid, 6, 1e-12), 6, 2.5**2).mean()
    found = roc_auc_score(np.repeat([0, 1], 6000), np.concatenate([inside, outside]))
    assert found == pytest.approx(analytic, abs=0.01)
    np.testing.assert_allclose(np.mean(inside**2), 6, rtol=0.03)


def test_of_few_features_it_is_the_distance_of_ledoit_and_wolf(detector):
    x, labels = drawn(6000)
    means = np.stack([x[labels == c].mean(axis=0) for c in range(3)])
    scale = (x - means[labels]).std(axis=0)
    precision = LedoitWolf(assume_centered=True).fit((x - means[labels]) / scale).precision_
    cases = drawn(50, shift=3, seed=5)[0]
    offsets = (cases[:, None] - means) / scale
    expected = np.sqrt(np.einsum("nki,ij,nkj->nk", offsets, precision, offsets).min(axis=1))
    np.testing.assert_allclose(detector.distance(cases), expected, rtol=1e-3)


def test_of_cases_like_validation_s_five_in_a_hundred_score_less_than_0_05(detector):
    score = detector.score(drawn(8000, seed=6)[0])
    assert score.min() > 0
    assert score.max() <= 1
    for level in (0.05, 0.5):
        assert (score <= level).mean() == pytest.approx(level, abs=0.02)
    assert detector.score(drawn(100, shift=30)[0]).max() == pytest.approx(1 / 2000)


def test_more_features_than_rows_and_units_that_never_fire():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(90, 400)) * np.r_[np.full(10, 9.0), np.ones(390)]
    rows[:, 7] = 0
    detector = fit(rows[:60], np.arange(60) % 2, rows[60:])
    assert detector.axes.shape == (60, 400)
    score = detector.score(rows[60:])
    assert np.isfinite(detector.distance(rows)).all()
    assert (score[:, None] >= score).mean() == pytest.approx(score.mean(), abs=0.02)  # their own ranks
    assert detector.score(rows[60:] + 3).max() == pytest.approx(1 / 31)
    alike = fit(np.ones((6, 3)), np.zeros(6, int), np.ones((4, 3)))
    assert (alike.score(np.ones((2, 3))) == 1).all()
    assert (alike.score(np.full((2, 3), 2.0)) == 0.2).all()


def test_the_file(detector, tmp_path):
    ood.write(detector, tmp_path / "a.npz")
    found, cases = ood.read(tmp_path / "a.npz"), drawn(20)[0]
    np.testing.assert_array_equal(found.score(cases), detector.score(cases))
    ood.write(None, tmp_path / "b.npz")
    assert ood.read(tmp_path / "b.npz") is None is ood.read(tmp_path / "c.npz")
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"b.npz: damaged .*; run the evaluation again"):
        ood.read(tmp_path / "b.npz")


def test_what_it_is_worth(settings):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": range(300), "set": np.repeat(["test", "external", "val"], 100), "ood": rng.random(300)})
    table["group"] = [f"g{i // 2}" for i in range(300)]
    table.loc[table["set"] == "external", "ood"] **= 3
    found = measure(table, settings, 1)
    test, external = (table.loc[table["set"] == part, "ood"] for part in ("test", "external"))
    assert found["flagged"]["test"]["value"] == (test <= 0.05).mean()
    assert found["flagged"]["external"]["value"] == (external <= 0.05).mean()
    assert found["flagged"]["external"]["low"] < found["flagged"]["external"]["value"]
    area = roc_auc_score(np.repeat([0, 1], 100), -np.concatenate([test, external]))
    assert found["auroc"]["value"] == pytest.approx(area)
    assert found["auroc"]["low"] < area < found["auroc"]["high"]
    assert "auroc" not in measure(table[table["set"] == "test"], settings, 1)
    assert subgroup_columns(table.assign(label="x")) == []
