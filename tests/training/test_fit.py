import keras
import numpy as np
import pytest
from keras import ops
from small_training import ignore, images, linear, network, part, recipe

from medpipe import backend, params
from medpipe.training.batches import Batches, Samples
from medpipe.training.fit import fit

pytestmark = pytest.mark.usefixtures("_seeded")

# Softmax regression on one feature. Training says that a higher one means class 1, validation that it means class 0.
AXIS = np.linspace(-1, 1, 16, dtype=np.float32)
ONE_HOT = np.eye(2, dtype=np.float32)[(AXIS > 0).astype(int)]
FEATURES = np.stack([AXIS, AXIS**2], axis=1)
AGREEING = Samples(FEATURES, ONE_HOT, np.arange(16))
OPPOSED = Samples(FEATURES, ONE_HOT[:, ::-1], np.arange(16))
TABLE = recipe("skin-tabular", lr=0.1, batch=8, epochs=6)


def tilted():
    """Softmax regression that is right of most rows, but not of all."""
    model = linear()
    model.set_weights([np.array([[-1, 1], [0.5, -0.5]], np.float32), np.array([0.2, -0.2], np.float32)])
    return model


def weights(model) -> list[np.ndarray]:
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def run(folder, settings, train=AGREEING, val=AGREEING, model=None, on_epoch=ignore, name="state.npz"):
    """The model's weights afterwards, and the history. A new model starts from the same weights each time."""
    backend.start(0, settings.precision if hasattr(settings, "precision") else "float32")
    model = model() if model else linear()
    history = fit(model, train, val, settings, seed=3, checkpoint=folder / name, on_epoch=on_epoch)
    return weights(model), history


def test_history_names_epochs_phases_rates_and_figures(tmp_path, capsys):
    seen = []
    settings = TABLE.model_copy(update={"epochs": 3, "decay": params.Decay(after=1, rate=0.5)})
    _, history = run(tmp_path, settings, on_epoch=lambda epoch, logs: seen.append((epoch, logs)))
    metrics = {"loss", "accuracy", "macro_f1"}
    assert set(history) == {"epoch", "phase", "lr", *metrics, *(f"val_{name}" for name in metrics)}
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["phase"].tolist() == ["main"] * 3
    np.testing.assert_allclose(history["lr"], 0.1 * np.exp([0, -0.5, -1]))
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert seen[2][1]["val_loss"] == history["val_loss"][2]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("main 1/3  lr 0.1  ")


def test_early_stopping_and_the_best_epoch(tmp_path):
    stopping = params.EarlyStopping(monitor="val_loss", patience=2, min_delta=0.0)
    settings = TABLE.model_copy(update={"early_stopping": stopping})
    after, history = run(tmp_path, settings, val=OPPOSED)
    # What training learns makes validation worse, so the first epoch is the best and two more are waited for.
    assert history["val_loss"].is_monotonic_increasing
    assert len(history) == 3
    first, _ = run(tmp_path, TABLE.model_copy(update={"epochs": 1}), val=OPPOSED, name="first.npz")
    assert all(np.array_equal(a, b) for a, b in zip(after, first, strict=True))


def test_too_small_a_step_down_counts_as_none_but_the_lowest_is_kept(tmp_path):
    stopping = params.EarlyStopping(monitor="val_loss", patience=2, min_delta=10.0)
    after, history = run(tmp_path, TABLE.model_copy(update={"early_stopping": stopping}))
    assert history["val_loss"].is_monotonic_decreasing
    assert len(history) == 3
    three, _ = run(tmp_path, TABLE.model_copy(update={"epochs": 3}), name="three.npz")
    assert all(np.array_equal(a, b) for a, b in zip(after, three, strict=True))


def test_class_weights_weigh_the_loss_and_not_the_accuracy(tmp_path):
    rows = np.arange(5, 16)
    train = Samples(AGREEING.inputs, AGREEING.targets, rows)
    settings = TABLE.model_copy(update={"epochs": 1, "batch": 11, "class_weights": "balanced"})
    _, history = run(tmp_path, settings, train=train)
    # From a start at zero both classes have p = 1/2: three rows of weight 16/11 and eight of 6/11, of mean 1.
    assert history["loss"][0] == pytest.approx(np.log(2) * (3 * 16 / 11 + 8 * 6 / 11) / 11, rel=1e-5)


def test_validation_counts_each_row_once_whatever_the_batch(tmp_path):
    """16 rows in one batch, in four of five, whose last is filled up with four, and in one of fifty."""
    seen = []
    for batch in (16, 5, 50):
        # A rate that changes nothing, so that only the batches of validation differ.
        settings = TABLE.model_copy(update={"batch": batch, "epochs": 1, "lr": 1e-30})
        _, history = run(tmp_path, settings, model=tilted, name=f"{batch}.npz")
        seen.append(history[["val_loss", "val_accuracy", "val_macro_f1"]].iloc[0].to_numpy())
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-5)
    np.testing.assert_allclose(seen[2], seen[0], rtol=1e-5)
    assert 0.5 < seen[0][1] < 1


def test_a_row_left_over_does_not_move_batch_normalisation(tmp_path):
    """Seventeen rows in batches of 16: one alone would give its own value as mean and no variance."""

    def normalised():
        inputs = keras.Input((2,))
        x = keras.layers.BatchNormalization(momentum=0.0, center=False, scale=False)(inputs)
        return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x), name="normalised")

    features = np.concatenate([FEATURES, [[9.0, 9.0]]]).astype(np.float32)
    train = Samples(features, np.concatenate([ONE_HOT, ONE_HOT[:1]]), np.arange(17))
    after, _ = run(tmp_path, TABLE.model_copy(update={"batch": 16, "epochs": 3}), train=train, model=normalised)
    assert (after[1] > 0.05).all()


def test_a_loss_that_is_no_number_stops_with_its_place(tmp_path):
    broken = AGREEING.inputs.copy()
    broken[9, 0] = np.inf
    train = Samples(broken, AGREEING.targets, np.arange(16))
    order = Batches(train, 1, seed=3, shuffle=True)
    at = next(i for i in range(16) if np.isinf(order[i][0]).any())
    first = at // 8 * 8 + 1  # eight steps on vectors are taken at once
    settings = TABLE.model_copy(update={"batch": 1})
    where = f"batches {first} to {first + 7}"
    with pytest.raises(RuntimeError, match=rf"linear: loss .* phase main, epoch 1 of 6, {where};"):
        run(tmp_path, settings, train=train)
    with pytest.raises(RuntimeError, match="linear: val_loss .* phase main, epoch 1 of 6, validation;"):
        run(tmp_path, settings, val=train)
    assert not list(tmp_path.iterdir())


def phases(**changes):
    """A warm-up of the head, then everything."""
    settings = {
        "batch": 8, "epochs": 2, "lr": 0.01, "warmup": params.Warmup(epochs=2, lr=0.05), "augmentation": None,
        "mixing": None, "network": {"unfreeze": "all"},
    }  # fmt: skip
    return recipe("skin-b4", **(settings | changes))


IMAGES = images()
TRAIN, VAL = part(IMAGES, 0, 28), part(IMAGES, 28, 36)


def test_warmup_trains_the_head_alone(tmp_path):
    backend.start(0, "float32")
    model = network()
    before = weights(model)
    frozen = recipe("chest-mobilenetv2", batch=8, epochs=1, augmentation=None)
    history = fit(model, TRAIN, VAL, frozen, seed=3, checkpoint=tmp_path / "state.npz", on_epoch=ignore)
    same = [np.array_equal(a, b) for a, b in zip(before, weights(model), strict=True)]
    # Convolution and batch norm (two, four) as they were, statistics too; kernel and bias of the head not.
    assert same == [True] * 6 + [False] * 2
    assert len(history) == 1
    assert not model.compiled


def test_cached_features_give_the_same_result(tmp_path):
    settings = phases(class_weights="balanced")
    cached, one = run(tmp_path, settings, TRAIN, VAL, network)
    # Mixing of no kind leaves the data as they are, and makes each epoch run through the backbone.
    nothing = params.Mixing(mixup=None, cutmix=None)
    full, two = run(tmp_path, settings.model_copy(update={"mixing": nothing}), TRAIN, VAL, network, name="full.npz")
    assert one["phase"].tolist() == ["warmup"] * 2 + ["main"] * 2
    np.testing.assert_allclose(one.drop(columns="phase"), two.drop(columns="phase"), rtol=1e-4)
    for a, b in zip(cached, full, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_loss_on_cached_features_that_is_no_number_names_the_batches_taken_at_once(tmp_path):
    broken = IMAGES.targets.copy()
    broken[9] = np.nan
    train = Samples(IMAGES.inputs, broken, TRAIN.rows)
    with pytest.raises(RuntimeError, match=r"small: loss .* phase warmup, epoch 1 of 2, batches 1 to 3;"):
        run(tmp_path, phases(), train, VAL, network)


def test_the_best_epoch_of_the_warmup_brings_the_backbone_back_that_it_had(tmp_path):
    backend.start(0, "float32")
    before = weights(network())
    settings = phases(lr=5.0, network={"unfreeze": "all", "freeze_norm": False})
    after, history = run(tmp_path, settings, TRAIN, VAL, network)
    assert history.loc[history["val_loss"].idxmin(), "phase"] == "warmup"
    backend.start(0, "float32")
    warm, _ = run(
        tmp_path, settings.model_copy(update={"epochs": 1, "lr": 1e-12}), TRAIN, VAL, network, name="warm.npz"
    )
    assert all(np.array_equal(a, b) for a, b in zip(before[:6], after[:6], strict=True))
    np.testing.assert_allclose(after[6], warm[6], atol=1e-6)


def test_a_checkpoint_holds_of_a_frozen_backbone_nothing(tmp_path):
    frozen = recipe("chest-mobilenetv2", batch=8, epochs=1, augmentation=None)
    run(tmp_path, frozen, TRAIN, VAL, network)
    with np.load(tmp_path / "state.npz") as file:
        shapes = [file[key].shape for key in file.files if key.startswith("best_model/")]
    assert sorted(shape for shape in shapes if shape != (2,)) == [(3,), (4, 3)]  # beside states of random generators


@pytest.mark.parametrize(("precision", "last"), [("float32", 1), ("mixed_float16", 3)])
def test_an_interrupted_training_goes_on_as_if_it_were_none(tmp_path, precision, last):
    settings = phases(precision=precision, decay=params.Decay(after=1, rate=0.5))
    whole, expected = run(tmp_path, settings, TRAIN, VAL, network)

    def interrupt(epoch: int, logs: dict[str, float]) -> None:
        if epoch == last + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, settings, TRAIN, VAL, network, on_epoch=interrupt, name="again.npz")
    (tmp_path / ".again.tmp.npz").write_bytes(b"what a kill in the middle of writing leaves")
    seen = []
    after, history = run(
        tmp_path, settings, TRAIN, VAL, network, on_epoch=lambda epoch, logs: seen.append(epoch), name="again.npz"
    )
    assert seen == list(range(last + 1, 5))
    assert history.equals(expected)
    assert all(np.array_equal(a, b) for a, b in zip(whole, after, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.npz", "state.npz"]


def test_a_finished_training_is_not_run_again_and_another_one_is(tmp_path):
    whole, history = run(tmp_path, TABLE)
    seen = []
    again, same = run(tmp_path, TABLE, on_epoch=lambda epoch, logs: seen.append(epoch))
    assert not seen
    assert same.equals(history)
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    for changed in (TABLE.model_copy(update={"lr": 0.2}), TABLE.model_copy(update={"batch": 4})):
        _, other = run(tmp_path, changed)
        assert not other["loss"].equals(history["loss"])


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, capsys):
    _, history = run(tmp_path, TABLE)
    state = tmp_path / "state.npz"
    whole = state.read_bytes()
    noise = np.random.default_rng(0).bytes(len(whole))
    cuts = [whole[: round(share * len(whole))] for share in (0, 0.001, 0.1, 0.5, 0.9)]
    inside = whole[: len(whole) // 2] + noise[: len(whole) // 8] + whole[len(whole) // 2 + len(whole) // 8 :]
    for damaged in (*cuts, whole[:-1], noise, inside, b"no checkpoint", b"\0" * len(whole)):
        state.write_bytes(damaged)
        assert run(tmp_path, TABLE)[1].equals(history)
        assert f"WARNING: {state}: not a whole checkpoint" in capsys.readouterr().err


def test_masks_are_trained_with_dice(tmp_path):
    from keras import Input, Model, layers

    def segmenter() -> Model:
        inputs = Input((16, 16, 3))
        x = layers.Conv2D(1, 1, activation="sigmoid")(layers.Rescaling(1 / 255)(inputs))
        return Model(inputs, x, name="segmenter")

    masks = (IMAGES.inputs[..., 0] > 110).astype(np.uint8)
    train, val = (Samples(IMAGES.inputs, masks, samples.rows) for samples in (TRAIN, VAL))
    _, history = run(tmp_path, recipe("brain-resunet", epochs=2, batch=14), train, val, segmenter)
    assert {"dice", "val_dice"} <= set(history)
    assert history["val_loss"].is_monotonic_decreasing


def test_validation_batches_of_masks_are_mixed_as_those_of_training_are(tmp_path):
    """Right but for a fog over all: batches of the second half, which has no mask, would each lose nearly 1."""
    from keras import Input, Model, layers

    def segmenter() -> Model:
        inputs = Input((16, 16, 3))
        x = layers.Rescaling(0.8 / 255, offset=0.1)(inputs)
        return Model(inputs, layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(x[..., :1]), name="fog")

    masks = np.zeros((32, 16, 16), np.uint8)
    masks[:16, :8] = 1
    samples = Samples(np.repeat(255 * masks[..., None], 3, axis=-1), masks, np.arange(32))
    settings = recipe("brain-resunet", epochs=1, batch=8, lr=1e-9)
    _, history = run(tmp_path, settings, samples, samples, segmenter)
    assert history["val_loss"][0] < 0.5


def test_a_fusion_head_is_fitted_on_features(tmp_path):
    head = params.DenseFusion(
        task="skin", kind="late", members=("a", "b"), inputs=("c", "d"), head=(), lr=0.1, epochs=3, batch=8,
        early_stopping=None,
    )  # fmt: skip
    _, history = run(tmp_path, head)
    assert len(history) == 3
    assert history["val_loss"][2] < np.log(2)
