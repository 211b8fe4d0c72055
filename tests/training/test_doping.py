"""Generated images in training: enlarged, counted, and never among those that judge."""

import json

import numpy as np
import pandas as pd
import pytest
from small_training import ignore, network, recipe

from medpipe.errors import InputError, SettingError
from medpipe.params import Sampling, Warmup
from medpipe.training.assemble import assemble
from medpipe.training.doping import Stacked, load
from medpipe.training.fit import fit

NAMES, SIDE = ("a", "b", "c"), 16
COPIES = {"share": 0.5, "low": 0.3, "high": 0.7}
FEW = {"share": 0.06, "low": 0.02, "high": 0.15}


@pytest.fixture
def root(tmp_path):
    """Sixty real rows of 16 px, an eighth of them of class c, and twelve generated images of 8 px a class."""
    rng, labels = np.random.default_rng(0), np.arange(60) % 8
    labels = np.where(labels == 7, 2, labels % 2)
    ids = [f"i{n}" for n in range(60)]
    sets = np.repeat(["val", "train", "test", "external"], [16, 32, 8, 4])
    names = [NAMES[label] for label in labels]
    write(tmp_path / "skin-224", rng.integers(0, 200, (60, SIDE, SIDE, 3), np.uint8), ids, {"task": "skin"})
    write(
        tmp_path / "skin-sagan", np.full((36, 8, 8, 3), 255, np.uint8), [f"g{n}" for n in range(36)], {},
        labels=[NAMES[n // 12] for n in range(36)], memorised={"pixels": FEW, "features": FEW, "limit": 0.2},
    )  # fmt: skip
    (tmp_path / "split").mkdir()
    pd.DataFrame({"id": ids, "label": names, "set": sets}).to_parquet(tmp_path / "split/rows.parquet")
    (tmp_path / "split/stats.json").write_text("{}")
    return tmp_path


def write(folder, images, ids, variant, **more):
    folder.mkdir()
    np.save(folder / "inputs.npy", images)
    meta = {"ids": ids, "variant": variant, "features": [], "digest": "0" * 64}
    (folder / "meta.json").write_text(json.dumps(meta | more))


def doped(**changes):
    sampling = Sampling(kind="generated", schedule=((1, 14), (2, None)))
    settings = {"inputs": ("skin-224", "skin-sagan"), "sampling": sampling, "epochs": 2, "batch": 4}
    return recipe("skin-b0", **settings | {"warmup": None, "network": {"normalise": "backbone"}} | changes)


@pytest.mark.usefixtures("_seeded")
@pytest.mark.parametrize("unfreeze", ["all", 0])  # 0: features are computed once, of generated images too
def test_generated_images_train_and_are_counted_and_none_judges(root, unfreeze):
    settings = doped(class_weights="balanced", network={"normalise": "backbone", "unfreeze": unfreeze})
    training = assemble(settings, NAMES, root / "split", root, 0, None)
    learnt, judges = training.learnt, training.samples(training.val)
    assert learnt.rows.tolist() == [*range(16, 48), *range(60, 96)]
    assert (learnt.generated, judges.generated) == (36, 0)
    assert judges.rows.tolist() == list(range(16))
    assert judges.inputs is training.arrays.inputs
    assert learnt.real.rows.tolist() == list(range(16, 48))
    assert [part.name for part in training.read] == ["skin-224", "skin-sagan"]
    assert training.delivery("m", {}).inputs == ("skin-224",)
    history = fit(
        network(), learnt, judges, training.settings,
        seed=0, checkpoint=root / "state.npz", on_epoch=ignore, classes=training.classes,
    )  # fmt: skip
    # 16, 12 and 4 real rows; in the first epoch each class is filled up to 14, the second is as it is.
    assert history[["draws_a", "draws_b", "draws_c"]].to_numpy().tolist() == [[16, 14, 14], [16, 12, 4]]
    assert history[["generated_a", "generated_b", "generated_c"]].to_numpy().tolist() == [[0, 2, 10], [0, 0, 0]]


@pytest.mark.usefixtures("_seeded")
def test_a_frozen_backbone_warms_up_on_real_images_and_then_reads_generated_ones(root):
    settings = doped(network={"normalise": "backbone", "unfreeze": 0}, warmup=Warmup(epochs=1, lr=0.01))
    training = assemble(settings, NAMES, root / "split", root, 0, None)
    history = fit(
        network(), training.learnt, training.samples(training.val), training.settings,
        seed=0, checkpoint=root / "state.npz", on_epoch=ignore, classes=training.classes,
    )  # fmt: skip
    assert history["phase"].tolist() == ["warmup", "main", "main"]
    assert history[["generated_a", "generated_b", "generated_c"]].fillna(0).to_numpy().tolist() == [
        [0, 0, 0], [0, 2, 10], [0, 0, 0]
    ]  # fmt: skip


def test_generated_images_are_enlarged_where_they_are_read():
    real, small = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((1, 2, 2, 3), np.uint8)
    small[0, :, 1] = 200
    found = Stacked(real, small)[np.array([2, 0])]
    np.testing.assert_array_equal(found[0, :, :, 0], [[0, 50, 150, 200]] * 4)
    assert not found[1].any()


@pytest.mark.parametrize("key", ["pixels", "features"])
def test_a_generator_that_copies_stops_the_training(root, key):
    path = root / "skin-sagan/meta.json"
    meta = json.loads(path.read_text())
    meta["memorised"][key] = COPIES
    path.write_text(json.dumps(meta))
    with pytest.raises(SettingError, match=f"inputs: skin-sagan gives its training images back: by {key} 50.0%"):
        assemble(doped(), NAMES, root / "split", root, 0, None)


def test_merged_classes_hold_of_generated_images_too(root):
    found = load(root / "skin-sagan", NAMES, {"b": ("b", "c")})
    assert np.bincount(found.labels).tolist() == [12, 24]


def test_a_generator_that_was_not_measured_is_named(root):
    with pytest.raises(InputError, match="other: no whole prepared folder"):
        load(root / "other", NAMES, {})


@pytest.mark.usefixtures("_seeded")
def test_class_weights_hold_from_their_epoch_on(root):
    """Without learning, an epoch's loss is the mean of its rows' losses, weighted from the second on."""
    found = []
    for changes in ({"class_weights": None}, {"class_weights": {"a": 1.0, "b": 1.0, "c": 3.0}, "weights_from": 2}):
        changes |= {"inputs": ("skin-224",), "sampling": None, "lr": 1e-12}
        training = assemble(doped(**changes), NAMES, root / "split", root, 0, None)
        model = network(dropout=0.0)
        model.set_weights([np.ones_like(weight) / 7 for weight in model.get_weights()])
        found.append(
            fit(
                model, training.learnt, training.samples(training.val), training.settings, seed=0,
                checkpoint=root / f"{len(found)}.npz", on_epoch=ignore, classes=training.classes,
            )["loss"]
        )  # fmt: skip
    # All classes are equally likely to such a model: log 3 each.
    np.testing.assert_allclose(found[0], np.log(3), rtol=1e-5)
    np.testing.assert_allclose(found[1], [np.log(3), np.log(3) * (28 + 3 * 4) / 32], rtol=1e-5)
