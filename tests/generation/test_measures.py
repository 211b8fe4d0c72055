"""Measures of generated images against closed forms and other libraries."""

import numpy as np
import ot
import prdc
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from medpipe.generation import measures, memorised
from medpipe.generation.memorised import Nearest

RNG = np.random.default_rng(0)


def gaussian(n, mean, covariance):
    """(n, d) of exactly this mean and covariance."""
    d = len(mean)
    x = RNG.normal(size=(n, d))
    x -= x.mean(axis=0)
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x.T)), x.T).T
    return x @ np.linalg.cholesky(covariance).T + mean


def random_covariance(d):
    a = RNG.normal(size=(d, d))
    return a @ a.T + np.eye(d)


def test_frechet_of_gaussians_with_covariances_that_commute():
    a, b = np.array([4.0, 1.0, 9.0]), np.array([1.0, 1.0, 4.0])
    found = measures.frechet(gaussian(50, np.zeros(3), np.diag(a)), gaussian(40, np.array([1.0, 2, 0]), np.diag(b)))
    assert found == pytest.approx(5 + np.square(np.sqrt(a) - np.sqrt(b)).sum())


def test_frechet_of_gaussians_by_the_root_of_a_matrix():
    a, b = random_covariance(4), random_covariance(4)
    values, vectors = np.linalg.eigh(a)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    expected = np.trace(a + b) - 2 * np.sqrt(np.linalg.eigvalsh(root @ b @ root)).sum()
    found = measures.frechet(gaussian(60, np.zeros(4), a), gaussian(80, np.zeros(4), b))
    assert found == pytest.approx(expected)


def test_frechet_with_fewer_rows_than_features_is_that_of_their_covariances():
    x, y = RNG.normal(size=(5, 9)), RNG.normal(size=(6, 9)) + 1
    a, b = np.cov(x.T), np.cov(y.T)
    values, vectors = np.linalg.eigh(a)
    root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
    roots = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    expected = np.square(x.mean(axis=0) - y.mean(axis=0)).sum() + np.trace(a) + np.trace(b) - 2 * roots
    assert measures.frechet(x, y) == pytest.approx(expected, rel=1e-6)
    assert measures.frechet(x, x) == pytest.approx(0, abs=1e-5)


def test_kernel_by_hand_and_without_bias():
    def k(a, b):
        return (a * b + 1) ** 3

    x, y = np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]])
    cross = np.mean([k(a, b) for a in (0, 2) for b in (1, 3)])
    assert measures.kernel(x, y) == pytest.approx(k(0, 2) + k(1, 3) - 2 * cross)
    same = [measures.kernel(*RNG.normal(size=(2, 20, 3))) for _ in range(500)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(500)


def test_inception_score_counts_the_classes_that_are_told_apart():
    assert measures.inception_score(np.eye(4)) == pytest.approx(4)
    assert measures.inception_score(np.full((5, 4), 0.25)) == pytest.approx(1)


def test_overlap_by_hand():
    real, other = np.array([[0.0], [1.0], [3.0], [10.0]]), np.array([[0.5], [2.5], [30.0], [31.0]])
    # Real ones reach 1, 1, 2 and 7; generated ones 2, 2, 1 and 1.
    found = measures.overlap(real, other, 1)
    assert found == pytest.approx((2 / 4, 3 / 4, 3 / 4, 3 / 4))


def test_overlap_of_a_set_with_itself_is_whole():
    x = RNG.normal(size=(30, 3))
    assert measures.overlap(x, x, 3)[:2] == (1, 1)
    assert measures.overlap(x, x, 3).coverage == 1


def test_other_libraries_find_the_same():
    real, other = RNG.normal(size=(60, 8)), RNG.normal(0.5, 1.3, size=(60, 8))

    def gaussian_of(x):
        return x.mean(axis=0), np.cov(x.T)

    (m, a), (n, b) = gaussian_of(real), gaussian_of(other)
    assert measures.frechet(real, other) == pytest.approx(ot.gaussian.bures_wasserstein_distance(m, n, a, b) ** 2)

    def within(x):
        gram = polynomial_kernel(x, degree=3, coef0=1)
        return gram[~np.eye(len(x), dtype=bool)].mean()

    between = polynomial_kernel(real, other, degree=3, coef0=1).mean()
    assert measures.kernel(real, other) == pytest.approx(within(real) + within(other) - 2 * between)
    theirs = prdc.compute_prdc(real, other, nearest_k=5)
    assert measures.overlap(real, other, 5)._asdict() == pytest.approx(theirs)
    assert 0 < theirs["coverage"] < 1


def test_nearest_and_the_share_of_copies():
    training = RNG.normal(size=(900, 5))
    held_out, fresh = RNG.normal(size=(2, 300, 5))
    copies = training[:300] + 1e-6
    found = memorised.nearest(copies, training)
    np.testing.assert_array_equal(found.row, np.arange(300))
    np.testing.assert_allclose(found.distance, 1e-6 * np.sqrt(5), rtol=1e-2, atol=1e-7)
    real = memorised.nearest(held_out, training)
    copied = memorised.share(found, real, 0.05)
    assert (copied["share"], copied["high"], copied["generated"], copied["held_out"]) == (1, 1, 300, 300)
    of_fresh = memorised.share(memorised.nearest(fresh, training), real, 0.05)
    assert 0.02 < of_fresh["share"] < 0.12  # the quantile is of 300 images itself


def test_a_share_has_wilsons_interval():
    near, far = Nearest(np.array([0.0] * 2 + [2.0] * 8), np.zeros(10, int)), Nearest(np.ones(20), np.zeros(20, int))
    found = memorised.share(near, far, 0.05)
    z, n, p = 1.959964, 10, 0.2
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (found["share"], found["low"], found["high"]) == pytest.approx(
        (p, (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)), rel=1e-5
    )
