import numpy as np
import pytest

from medpipe.params import Mixing
from medpipe.training.mixing import cutmix, mix, mixup

SEED = [5, 0, 0, 3]


def batch(count: int = 8, side: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Images that each have one value throughout, 20 times their number, and one-hot targets, each its own class."""
    values = np.arange(count, dtype=np.uint8) * 20
    return np.broadcast_to(values[:, None, None, None], (count, side, side, 3)).copy(), np.eye(count, dtype=np.float32)


def test_mixup_is_the_weighted_mean():
    images, _ = batch()
    other = np.roll(np.arange(8), 1)
    mixed, share = mixup(images, other, 0.25, np.random.default_rng(0))
    assert share == 0.25
    expected = 0.25 * images.astype(float) + 0.75 * images[other]
    assert mixed.dtype == np.uint8
    assert np.abs(mixed - expected).max() <= 0.5


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
def test_cutmix_pastes_one_box_of_the_share_that_it_returns(share):
    images, _ = batch()
    other = np.roll(np.arange(8), 1)
    for seed in range(20):
        mixed, kept = cutmix(images, other, share, np.random.default_rng(seed))
        pasted = (mixed != images).all(axis=3)
        assert pasted.mean() == pytest.approx(1 - kept)
        assert 1 - kept <= 1 - share + 0.1
        assert np.array_equal(mixed[pasted], images[other][pasted])
        for rows, columns in zip(pasted.any(axis=2), pasted.any(axis=1), strict=True):
            assert rows.sum() * columns.sum() == pasted[0].sum()


@pytest.mark.parametrize("settings", [(0.4, None), (None, 1.0), (0.4, 1.0)])
def test_targets_follow_the_pixels(settings):
    images, targets = batch()
    for index in range(10):
        mixed, blended, weights = mix(
            images, targets, None, Mixing(mixup=settings[0], cutmix=settings[1]), [5, 0, index, 3]
        )
        assert weights is None
        np.testing.assert_allclose(blended.sum(1), 1, rtol=1e-6)
        # The mean pixel says how much of each image is there.
        np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), blended @ (np.arange(8) * 20.0), atol=0.51)


def test_weights_give_the_weighted_sum_of_both_losses():
    images, targets = batch()
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.2, 3, 8).astype(np.float32)
    log_p = np.log(rng.dirichlet(np.ones(8), 8))
    settings = Mixing(mixup=0.4, cutmix=None)
    _, plain, _ = mix(images, targets, None, settings, SEED)
    _, blended, mixed = mix(images, targets, weights, settings, SEED)
    np.testing.assert_allclose(blended.sum(1), 1, rtol=1e-5)
    # Row i of `plain` holds both shares, each at its own image's class: class j is image j, of weight j.
    expected = -(plain * weights * log_p).sum(1)
    np.testing.assert_allclose(-mixed * (blended * log_p).sum(1), expected, rtol=1e-5)


def test_the_seed_decides_and_both_kinds_come():
    images, targets = batch()
    settings = Mixing(mixup=1.0, cutmix=1.0)
    one, two = (mix(images, targets, None, settings, SEED) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
    # MixUp leaves each image of one value; CutMix makes it two.
    many = [mix(images, targets, None, settings, [5, 0, index, 3])[0] for index in range(40)]
    flat = sum(bool((x.min(axis=(1, 2, 3)) == x.max(axis=(1, 2, 3))).all()) for x in many)
    assert 10 < flat < 30


def test_a_binary_target_is_mixed_too():
    images, _ = batch()
    targets = (np.arange(8) % 2).astype(np.float32)[:, None]
    _, blended, _ = mix(images, targets, None, Mixing(mixup=1.0, cutmix=None), SEED)
    assert blended.shape == (8, 1)
    assert blended.sum() == pytest.approx(targets.sum())
