import numpy as np
import pytest
from small_training import USUAL

from medpipe.params import Augmentation
from medpipe.training.augment import augment, pipeline

OFF = Augmentation(
    probability=1.0, horizontal_flip=False, vertical_flip=False, rotation=0, zoom=0, shift=0, shear=0, brightness=0
)


def settings(**on: object) -> Augmentation:
    return OFF.model_copy(update=on)


def discs(count: int = 8, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on dark ground, off the centre, and their masks."""
    y, x = np.mgrid[:side, :side]
    masks = np.stack([(y - 16 - i) ** 2 + (x - 20) ** 2 < 81 for i in range(count)]).astype(np.uint8)
    return np.repeat(masks[..., None] * 200, 3, axis=3), masks


def test_the_seed_decides():
    images, masks = discs()
    steps = pipeline(USUAL)
    first = augment(steps, images, masks, 7)
    second = augment(pipeline(USUAL), images, masks, 7)
    other = augment(steps, images, masks, 8)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert len({image.tobytes() for image in first[0]}) == len(images)


def test_all_off_changes_nothing():
    images, masks = discs()
    out, out_masks = augment(pipeline(OFF), images, masks, 0)
    assert np.array_equal(out, images)
    assert np.array_equal(out_masks, masks)


@pytest.mark.parametrize(("key", "axis"), [("horizontal_flip", 1), ("vertical_flip", 0)])
def test_flips(key, axis):
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    masks = images[..., 0] % 2
    out, out_masks = augment(pipeline(settings(**{key: True})), images, masks, 0)
    flipped = [not np.array_equal(a, b) for a, b in zip(out, images, strict=True)]
    assert 16 < sum(flipped) < 48
    for i, is_flipped in enumerate(flipped):
        assert np.array_equal(out[i], np.flip(images[i], axis) if is_flipped else images[i])
        assert np.array_equal(out_masks[i], np.flip(masks[i], axis) if is_flipped else masks[i])


def test_masks_follow_their_images():
    images, masks = discs()
    warp = settings(horizontal_flip=True, rotation=30, zoom=0.2, shift=0.1, shear=10)
    out, out_masks = augment(pipeline(warp), images, 3 * masks, 3)
    assert set(np.unique(out_masks)) == {0, 3}  # nothing in between
    seen = out[..., 0] > 100
    assert (seen == out_masks // 3).mean() > 0.97
    assert all(mask.any() for mask in out_masks)
    assert not np.array_equal(out_masks, masks)


def test_a_warp_brings_in_no_new_colour():
    images = np.full((4, 32, 32, 3), 137, np.uint8)
    warp = settings(rotation=45, zoom=0.3, shift=0.3, shear=20)
    assert np.array_equal(augment(pipeline(warp), images, None, 0)[0], images)


def test_brightness_is_a_share_of_the_range():
    images = np.full((64, 8, 8, 3), 100, np.uint8)
    out, _ = augment(pipeline(settings(brightness=0.1)), images, None, 0)
    change = out.astype(int) - 100
    assert np.abs(change).max() <= 26
    assert change.min() < -15
    assert change.max() > 15
    assert np.array_equal(change.min(axis=(1, 2, 3)), change.max(axis=(1, 2, 3)))


@pytest.mark.parametrize(("probability", "fewest", "most"), [(0.0, 0, 0), (0.25, 16, 48), (1.0, 120, 128)])
@pytest.mark.parametrize("kind", [{"rotation": 20}, {"brightness": 0.3}])
def test_a_share_of_the_images_is_changed(kind, probability, fewest, most):
    images = np.random.default_rng(0).integers(60, 200, (128, 8, 8, 3), dtype=np.uint8)
    out, _ = augment(pipeline(settings(probability=probability, **kind)), images, None, 0)
    assert fewest <= sum(not np.array_equal(a, b) for a, b in zip(out, images, strict=True)) <= most
