import numpy as np
import pytest
from small_training import USUAL, images

from medpipe.errors import InputError
from medpipe.params import Mixing
from medpipe.training.batches import Batches, Samples

MIXING = Mixing(mixup=0.2, cutmix=1.0)


@pytest.fixture
def mapped(tmp_path):
    """Images and masks of 21 rows, mapped from files; the rows in use are 3 to 20."""
    pixels = images(21).inputs
    np.save(tmp_path / "inputs.npy", pixels)
    np.save(tmp_path / "masks.npy", (pixels[..., 0] > 120).astype(np.uint8))
    inputs, masks = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("inputs", "masks"))
    return Samples(inputs, masks, np.arange(3, 21))


def epoch(batches: Batches, number: int) -> list[tuple]:
    batches.epoch = number
    return [batches[i] for i in range(len(batches))]


def same(one: list[tuple], two: list[tuple]) -> bool:
    pairs = zip(one, two, strict=True)
    return all(np.array_equal(a, b) for first, second in pairs for a, b in zip(first, second, strict=True))


TABLE = np.arange(23, dtype=np.float32)[:, None]
ROWS = np.arange(2, 23)


def test_every_row_comes_once_and_in_its_order():
    batches = Batches(Samples(TABLE, 10 * TABLE, ROWS), 4)
    got = epoch(batches, 0)
    assert [len(x) for x, _ in got] == [4, 4, 4, 4, 4, 1]
    assert np.concatenate([x for x, _ in got]).ravel().tolist() == ROWS.tolist()
    assert same(got, epoch(batches, 1))


def test_shuffled_batches_are_whole_and_what_is_left_over_changes():
    batches = Batches(Samples(TABLE, 10 * TABLE, ROWS), 4, seed=1, shuffle=True)
    left = set()
    for number in range(4):
        got = epoch(batches, number)
        assert [len(x) for x, _ in got] == [4] * 5
        x, y = (np.concatenate(parts).ravel() for parts in zip(*got, strict=True))
        assert np.array_equal(y, 10 * x)
        assert ROWS[batches.places].tolist() == x.tolist()
        [missing] = set(ROWS.tolist()) - set(x)
        left.add(missing)
    assert len(left) > 1
    [(x, _)] = epoch(Batches(Samples(TABLE, TABLE, ROWS[:3]), 4, shuffle=True), 0)
    assert len(x) == 3  # fewer rows than a batch: all of them


def test_a_filled_batch_leaves_means_as_they_are():
    got = epoch(Batches(Samples(TABLE, TABLE, ROWS), 4, fill=True), 0)
    assert [len(x) for x, _, _ in got] == [4] * 6
    x, _, weights = (np.concatenate(parts) for parts in zip(*got, strict=True))
    assert weights[21:].tolist() == [0, 0, 0]
    assert np.mean(weights * x.ravel()) == pytest.approx(ROWS.mean())


def test_weights_stay_with_their_rows():
    table = np.arange(9, dtype=np.float32)[:, None]
    rows = np.array([1, 3, 5, 7])
    weights = rows.astype(np.float32) / 10
    batches = Batches(Samples(table, table, rows), 3, seed=2, shuffle=True, weights=weights)
    for x, _, w in epoch(batches, 4):
        np.testing.assert_allclose(w, x.ravel() / 10)


def test_masks_become_one_channel_of_floats(mapped):
    x, y = Batches(mapped, 4)[0]
    assert (x.shape, x.dtype) == ((4, 16, 16, 3), np.uint8)
    assert (y.shape, y.dtype) == ((4, 16, 16, 1), np.float32)
    assert np.array_equal(y[..., 0], mapped.targets[3:7])


def test_seed_and_epoch_decide(mapped):
    def batches(seed: int) -> Batches:
        return Batches(mapped, 4, seed=seed, shuffle=True, augmentation=USUAL, processes=0)

    first = batches(1)
    one, two = epoch(first, 1), epoch(first, 2)
    assert not same(one, two)
    assert not same(one, epoch(batches(2), 1))
    # Whatever was asked before, and in whatever order.
    assert same(two, epoch(batches(1), 2))
    again = batches(1)
    again.epoch = 1
    assert all(np.array_equal(again[i][0], one[i][0]) for i in (3, 0, 0, 1, 2))


@pytest.mark.parametrize("masked", [False, True])
def test_the_number_of_workers_changes_nothing(mapped, masked):
    samples = mapped
    if not masked:
        samples = Samples(mapped.inputs, images(21).targets, mapped.rows)
    got = []
    for processes in (0, 2):
        mixing = None if masked else MIXING
        weights = np.linspace(0.5, 2, len(samples.rows)).astype(np.float32)
        batches = Batches(
            samples, 4, seed=1, shuffle=True, weights=weights, augmentation=USUAL, mixing=mixing, processes=processes
        )
        got.append(epoch(batches, 3))
        batches.close()
    assert same(*got)


def test_a_dead_worker_is_an_error(mapped):
    batches = Batches(mapped, 4, augmentation=USUAL, processes=1)
    batches._pool._processes[0].kill()
    with pytest.raises(RuntimeError, match="worker has died"):
        epoch(batches, 0)
    batches.close()


def test_settings_that_do_not_fit_are_refused(mapped):
    table = Samples(np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32), np.arange(4))
    with pytest.raises(InputError, match="for images alone"):
        Batches(table, 2, augmentation=USUAL)
    with pytest.raises(InputError, match="not for masks"):
        Batches(mapped, 2, mixing=MIXING)
