"""Every recipe of params.yaml, and every row of studies.yaml, is built and takes a step by the code that trains it;
every model of params.yaml is the same after saving. Each under its own precision; on JAX: models/test_backends.py."""

import keras
import numpy as np
import pytest
from keras import ops
from small_training import ignore

from medpipe import backend, params
from medpipe.data.vocabulary import merged_classes
from medpipe.models.build import build
from medpipe.models.embedding import EMBEDDING, standardise
from medpipe.recipe import resolve
from medpipe.studies.plan import plan
from medpipe.training.batches import Samples
from medpipe.training.fit import fit
from medpipe.training.selection import class_targets

SIDE = 32
SHIPPED = params.load()
# A step an epoch, from a random start; layers, losses, sampling, augmentation, mixing and rates as published.
STEP = params.Scale(
    epochs=1, head_epochs=None, head_lr=None, rows=None, draws=0.0004, unfreeze=None, pretrained=False,
    augmentation=True, batch=16, precision="float32",
)  # fmt: skip
TABLE = {"columns": ["age", "male"], "fill": [50.0, 0.0], "mean": [48.0, 0.5], "std": [16.0, 0.5]}
CHANNELS = {"mean": [195.0, 138.0, 145.0], "std": [35.0, 40.0, 45.0]}


@pytest.fixture
def _eager():
    """Building a gradient's graph takes up to two minutes, one step without it a few seconds."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def classes_of(recipe):
    return merged_classes(SHIPPED.tasks[recipe.task].classes, recipe.merge)


def step(recipe, folder):
    """The model, by layer the weights before, and the history, of an epoch on two rows a class."""
    rng, classes = np.random.default_rng(0), classes_of(recipe)
    labels = np.repeat(np.arange(len(classes)), 2)
    table = recipe.architecture == "mlp"
    shape = (2,) if table else (SIDE, SIDE, 3)
    inputs = rng.integers(0, 256, (len(labels), *shape)).astype(np.float32 if table else np.uint8)
    masks = recipe.architecture == "resunet"
    truth = (inputs[..., 0] > 200).astype(np.uint8) if masks else class_targets(labels, classes, recipe)
    samples = Samples(inputs, truth, np.arange(len(labels)))
    backend.start(1, recipe.precision)
    model = build(recipe, shape, len(classes), TABLE | {"channels": CHANNELS})
    if recipe.architecture == "backbone":
        standardise(model, inputs, len(inputs))
    before = {layer.name: [ops.convert_to_numpy(weight) for weight in layer.weights] for layer in model.layers}
    history = fit(
        model, samples, samples, recipe,
        seed=1, checkpoint=folder / "state.npz", on_epoch=ignore, classes=classes,
    )  # fmt: skip
    return model, before, history


def halved(checkpoint):
    """Whether half precision has skipped the first step, whose gradients its first scale of the loss, 2**15, made
    infinite, and has halved the scale, as it does until they are finite.
    """
    with np.load(checkpoint) as state:
        return any(state[key].shape == () and state[key] == 2.0**14 for key in state.files if "optimizer/" in key)


def check(recipe, model, before, history, folder):
    assert np.isfinite(history["loss"]).all()
    assert len(history) == recipe.epochs + (recipe.warmup is not None)
    names = [layer.name for layer in model.layers]
    changed = {
        layer.name
        for layer in model.layers
        if any(not np.array_equal(old, new) for old, new in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    if recipe.precision != "mixed_float16" or not halved(folder / "state.npz"):
        assert names[-1] in changed or recipe.architecture == "resunet"
        assert changed
    if recipe.architecture == "backbone" and isinstance(recipe.network.unfreeze, int):
        frozen = names[: names.index(EMBEDDING) - recipe.network.unfreeze]
        assert not changed & set(frozen)
    if recipe.sampling is not None:
        assert history.filter(like="draws_").iloc[-1].notna().all()


def at_step(settings, name):
    """The model's recipe, in its own precision."""
    scale = STEP.model_copy(update={"precision": settings.models[name].precision})
    return resolve(settings.model_copy(update={"scale": "step", "scales": settings.scales | {"step": scale}}), name)


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("name", SHIPPED.models)
def test_a_model_takes_a_step_and_is_the_same_after_saving(name, tmp_path):
    recipe = at_step(SHIPPED, name)
    if name == "skin-v2m":  # but for the backbone the recipe of skin-b4, whose step is its own
        b4 = at_step(SHIPPED, "skin-b4")
        network = recipe.network.model_copy(update={"backbone": b4.network.backbone})
        assert recipe.model_copy(update={"network": network}) == b4
        classes = len(classes_of(recipe))
        assert build(recipe, (SIDE, SIDE, 3), classes, TABLE | {"channels": CHANNELS}).output_shape == (None, classes)
        return
    model, before, history = step(recipe, tmp_path)
    check(recipe, model, before, history, tmp_path)
    if name in ("skin-b0", "skin-b4", "chest-densenet169"):  # saved as other backbones are
        return
    shape = model.input_shape[1:]
    inputs = np.random.default_rng(1).integers(0, 256, (2, *shape)).astype(np.float32)
    values = np.asarray(model(inputs))
    assert values.dtype == np.float32
    assert ((values >= 0) & (values <= 1)).all()
    if recipe.architecture == "resunet":
        assert values.shape == (2, SIDE, SIDE, 1)
    elif recipe.architecture == "resnet":
        assert values.shape == (2, 1)
    else:
        assert values.shape == (2, len(classes_of(recipe)))
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(inputs)), values)


# Those that change nothing are the models above.
STUDIES, VALUES = params.load_studies(), params.read()
CHANGED = [(study, row) for study, settings in STUDIES.items() for row in settings.rows if settings.rows[row].set]


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize(("study", "row"), CHANGED)
def test_a_row_of_a_study_takes_a_step(study, row, tmp_path):
    experiments = plan(study, STUDIES[study], VALUES)
    experiment = next(experiment for experiment in experiments if experiment.row == row)
    settings = params.validated(params.Params, experiment.params, study)
    recipe = at_step(settings, experiment.model)
    if recipe.architecture == "backbone":
        # The networks themselves take their steps above; here a small one does, under all else that the row says.
        layers = min(5, recipe.network.unfreeze) if isinstance(recipe.network.unfreeze, int) else 5
        small = {"backbone": "MobileNet", "options": {"alpha": 0.25}, "unfreeze": layers}
        recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update=small)})
    check(recipe, *step(recipe, tmp_path), tmp_path)
