"""The sampler's counts are exact, and fit draws what it says."""

import numpy as np
import pytest
from small_training import ignore, images, network, part, recipe

from medpipe import backend, params
from medpipe.errors import SettingError
from medpipe.params import Sampling
from medpipe.training.fit import fit
from medpipe.training.sampling import Sampler

CLASSES = ("rare", "some", "common")
LABELS = np.array([2] * 70 + [0] * 3 + [1] * 27)


def sampler(kind, *schedule, labels=LABELS, seed=1):
    return Sampler(Sampling(kind=kind, schedule=schedule), labels, CLASSES, seed)


def test_balanced_draws_are_alike_and_their_rows_too():
    drawn = sampler("balanced", (1, 300))(0)
    times = np.bincount(drawn, minlength=100)
    assert np.bincount(LABELS[drawn]).tolist() == [100, 100, 100]
    for label in range(3):
        own = times[label == LABELS]
        assert own.max() - own.min() <= 1


def test_an_epoch_of_unchanged_length_draws_fewer_of_the_common_class():
    rows = sampler("balanced", (1, "rows"))
    assert rows.drawn(rows(0)) == {"rare": 34, "some": 33, "common": 33}
    # What does not divide by three goes round, so that over three epochs all have the same.
    assert sum(np.array([*rows.drawn(rows(epoch)).values()]) for epoch in range(3)).tolist() == [100, 100, 100]
    assert len(set(rows(0)[LABELS[rows(0)] == 2])) == 33


def test_filling_leaves_what_has_enough_as_it_is():
    fill = sampler("fill", (1, 50), (2, 10), (3, None))
    assert fill.drawn(fill(0)) == {"rare": 50, "some": 50, "common": 70}
    assert fill.drawn(fill(1)) == {"rare": 10, "some": 27, "common": 70}
    assert fill.drawn(fill(2)) == {"rare": 3, "some": 27, "common": 70}
    assert (np.bincount(fill(1), minlength=100)[LABELS > 0] == 1).all()


def test_the_published_schedule():
    schedule = ((1, 35000), (3, 25000), (5, 15000), (7, 12000), (9, None))
    dynamic = sampler("balanced", *schedule)
    totals = [sum(dynamic.drawn(dynamic(epoch)).values()) for epoch in range(10)]
    assert totals == [35000] * 2 + [25000] * 2 + [15000] * 2 + [12000] * 2 + [100] * 2
    assert [dynamic.until(epoch, 10) for epoch in range(10)] == [2, 2, 4, 4, 6, 6, 8, 8, 10, 10]


def test_seed_and_epoch_decide_the_draw():
    one = sampler("balanced", (1, 60))
    assert np.array_equal(one(0), sampler("balanced", (1, 60))(0))
    assert not np.array_equal(one(0), one(3))
    assert not np.array_equal(one(0), sampler("balanced", (1, 60), seed=2)(0))


def test_a_class_without_rows_cannot_be_drawn():
    with pytest.raises(SettingError, match="sampling: no training row of class some"):
        sampler("balanced", (1, 60), labels=np.array([0, 2]))


@pytest.mark.parametrize(
    ("kind", "schedule", "message"),
    [
        ("balanced", [], "at least 1 item"),
        ("balanced", [(2, 50)], "must begin with epoch 1"),
        ("balanced", [(1, 50), (3, 40), (3, 30)], "must rise"),
        ("balanced", [(1, 0)], "greater than 0"),
        ("fill", [(1, "rows")], "`rows` is for balanced"),
    ],
)
def test_a_wrong_schedule_is_refused(kind, schedule, message):
    with pytest.raises(ValueError, match=message):
        Sampling(kind=kind, schedule=schedule)


def test_fit_draws_by_the_schedule_after_the_warm_up(tmp_path):
    """The warm-up reads the plain set; the counts are in the history, and in what goes to MLflow."""
    backend.start(0, "float32")
    logged = []
    settings = recipe(
        "skin-b4",
        batch=8,
        epochs=3,
        warmup=params.Warmup(epochs=1, lr=0.01),
        augmentation=None,
        mixing=None,
        class_weights="balanced",
        sampling=Sampling(kind="balanced", schedule=((1, 45), (3, None))),
        network={"unfreeze": 2},
    )
    data = images(40)
    history = fit(
        network(), part(data, 0, 34), part(data, 34, 40), settings,
        seed=3, checkpoint=tmp_path / "state.npz", on_epoch=lambda epoch, logs: logged.append(logs), classes=CLASSES,
    )  # fmt: skip
    draws = history[[f"draws_{name}" for name in CLASSES]]
    assert draws.iloc[0].isna().all()
    # What does not fill a batch of eight is left out, and so not counted.
    assert draws.iloc[1:].sum(axis=1).tolist() == [40, 40, 32]
    assert (draws.iloc[1:3] <= 15).all(axis=None)
    assert [log.get("draws_rare") for log in logged[1:]] == draws["draws_rare"].tolist()[1:]
    right = history["accuracy"] * [32, 40, 40, 32]
    np.testing.assert_allclose(right, right.round(), atol=1e-4)


def test_masks_and_schedules_do_not_go_together(tmp_path):
    backend.start(0, "float32")
    data = images(4)
    masks = type(data)(data.inputs, np.zeros((4, 16, 16), np.uint8), data.rows)
    settings = recipe("brain-resunet", sampling=Sampling(kind="balanced", schedule=((1, 4),)))
    with pytest.raises(SettingError, match="sampling: for classes alone"):
        fit(network(), masks, masks, settings, seed=0, checkpoint=tmp_path / "s.npz", on_epoch=ignore, classes=CLASSES)


def test_generated_images_fill_up_what_real_ones_leave_open():
    labels = np.concatenate([LABELS, [0] * 40, [1] * 5])  # 40 generated images of the rare class, 5 of the next
    filled = Sampler(Sampling(kind="generated", schedule=((1, 50), (2, 10), (3, None))), labels, CLASSES, 1, 45)
    places = filled(0)
    assert filled.drawn(places) == {"rare": 50, "some": 50, "common": 70}
    assert filled.invented(places) == {"rare": 47, "some": 23, "common": 0}
    times = np.bincount(places, minlength=145)
    assert (times[:100] == 1).all()  # every real row once
    assert set(times[100:140]) == {1, 2}
    assert set(times[140:]) == {4, 5}
    assert filled.invented(filled(1)) == {"rare": 7, "some": 0, "common": 0}
    assert sorted(filled(2)) == list(range(100))
    with pytest.raises(SettingError, match="sampling: no generated image of class some"):
        Sampler(filled.sampling, labels[:140], CLASSES, 1, 40)(0)
