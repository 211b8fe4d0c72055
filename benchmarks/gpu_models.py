"""Those claims of gpu_check.py that are about the recipes: their first steps, what is served of them, their speed."""

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from medpipe import backend, gpus, params
from medpipe.data.vocabulary import merged_classes
from medpipe.evaluation.exported import CHECKED, TOLERANCE, exported
from medpipe.models import embedding
from medpipe.models.build import build
from medpipe.models.delivery import Delivery
from medpipe.models.network import read
from medpipe.training.batches import Batches, Samples
from medpipe.training.fit import fit
from medpipe.training.selection import class_targets

PARAMS = params.load(Path(__file__).parents[1])
TABLE = {"columns": ["age", "male"], "fill": [50.0, 0.0], "mean": [48.0, 0.5], "std": [16.0, 0.5]}
CHANNELS = {"mean": [195.0, 138.0, 145.0], "std": [35.0, 40.0, 45.0]}
RATED = {"EfficientNetB4": "skin-b4", "EfficientNetV2M": "skin-v2m"}
SMALL = {"backbone": "MobileNet", "options": {"alpha": 0.25}, "unfreeze": 5}  # in place of a backbone, where tiny
KEPT_UP = 0.95  # of the bare loop's images a second, at least
LEFT_OUT = 2  # first steps of an epoch: while they last, nothing has been read ahead

Outcome = dict[str, Any]


def recipe_of(name: str, tiny: bool, **changes: object) -> params.Recipe:
    """A recipe as published, of one phase, from a random start, an epoch unless `changes` say otherwise; `tiny`: on a
    small backbone, in small batches.
    """
    recipe = PARAMS.models[name]
    changes = {"epochs": 1, "early_stopping": None} | changes
    if isinstance(recipe, params.BackboneRecipe):
        network = {"weights": None} | (SMALL if tiny else {})
        changes |= {"network": recipe.network.model_copy(update=network), "warmup": None}
    if tiny:
        changes["batch"] = 4
    return recipe.model_copy(update=changes)


def _samples(recipe: params.Recipe, side: int, count: int) -> tuple[Samples, tuple[str, ...]]:
    """`count` random rows as the recipe's task has them, images of this side, and its classes."""
    rng = np.random.default_rng(0)
    classes = merged_classes(PARAMS.tasks[recipe.task].classes, recipe.merge)
    labels = np.arange(count) % len(classes)
    if recipe.architecture == "mlp":
        inputs = rng.normal(size=(count, len(TABLE["columns"]))).astype(np.float32)
    else:
        inputs = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    segments = recipe.architecture == "resunet"
    truth = (inputs[..., 0] > 200).astype(np.uint8) if segments else class_targets(labels, classes, recipe)
    return Samples(inputs, truth, np.arange(count)), classes


def _build(recipe: params.Recipe, samples: Samples, classes: tuple[str, ...]) -> keras.Model:
    backend.reset(PARAMS.seed, recipe.precision)
    return build(recipe, samples.inputs.shape[1:], len(classes), TABLE | {"channels": CHANNELS})


def train(recipe: params.Recipe, side: int, folder: Path) -> list[float]:
    """The losses of an epoch of two steps on random images of this side, in the recipe's precision."""
    samples, classes = _samples(recipe, side, 2 * recipe.batch)
    model = _build(recipe, samples, classes)
    if isinstance(recipe, params.BackboneRecipe):
        embedding.standardise(model, samples.inputs[: recipe.batch], recipe.batch)
    return _fit(model, samples, samples, recipe, folder / "first_steps.npz", classes)


def _fit(
    model: keras.Model, train: Samples, val: Samples, recipe: params.Recipe, checkpoint: Path, classes: tuple[str, ...]
) -> list[float]:
    """Trains as the stage `train` does; the losses of the epochs."""
    history = fit(
        model, train, val, recipe,
        seed=PARAMS.seed, checkpoint=checkpoint, on_epoch=lambda epoch, numbers: None, classes=classes,
    )  # fmt: skip
    checkpoint.unlink()
    return [float(loss) for loss in history["loss"]]


def first_steps(folder: Path, tiny: bool) -> Outcome:
    """Every recipe's first steps have a finite loss, in its own precision; those of B4 and V2M are taken by `speed`.

    On images of 32 px: what a step is made of does not depend on it. TensorFlow takes them without a graph, which would
    take up to a minute to build. `tiny`: one recipe of each precision.
    """
    backend.start(PARAMS.seed, "float32", PARAMS.deterministic, tf32=True)
    if backend.name() == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)
    names = [name for name in PARAMS.models if name not in RATED.values()]
    if tiny:
        names = sorted({PARAMS.models[name].precision: name for name in reversed(names)}.values())
    losses, failed = {}, {}
    for name in names:
        try:
            losses[name] = train(recipe_of(name, tiny), 32, folder)
            if not np.isfinite(losses[name]).all():
                failed[name] = f"losses {losses[name]}"
        except Exception as error:  # of any kind, so that the other recipes are still tried
            failed[name] = f"{type(error).__name__}: {error}"[:300]
    passed = ", ".join(f"{name} ({PARAMS.models[name].precision})" for name in losses)
    detail = "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or passed
    return {"holds": not failed, "detail": detail, "losses": losses}


def served(backbone: str, side: int, folder: Path, tiny: bool) -> Outcome:
    """What evaluate measures of a model trained in the recipe's precision is what ONNX Runtime serves."""
    name = RATED[backbone]
    backend.start(PARAMS.seed, "float32")
    recipe = recipe_of(name, tiny)
    samples, classes = _samples(recipe, 32 if tiny else side, CHECKED)
    model = _build(recipe, samples, classes)
    # Statistics of the images, or signals dwindle with depth, and with them all differences.
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    backend.compiled(lambda x: model(x, training=True), model.variables)(samples.inputs[: recipe.batch])
    Delivery(
        name=name, task=recipe.task, kind="classifier", classes=classes, inputs=recipe.inputs, variants=(),
        features=(), stats={}, threshold=None, settings={},
    ).write(folder, model)  # fmt: skip
    backend.reset(PARAMS.seed, "float32")
    _, model = read(folder)
    graph = exported(name, embedding.observed(model) or model, [samples.inputs], samples.rows, ())
    return {
        "holds": True,  # else `exported` raises an error
        "detail": f"{CHECKED} images' probabilities at most {TOLERANCE:g} apart at {samples.inputs.shape[1]} px",
        "bytes": len(graph),
    }


class _Clock(keras.callbacks.Callback):
    """Times each epoch of a training, and after it as many steps of the bare loop: both without the first LEFT_OUT.

    - seconds, bare_seconds: of each epoch of `steps`
    """

    async_safe = True  # so that Keras does not wait for the device after each step on its account

    def __init__(self, bare_step: Callable[[], Any], steps: int) -> None:
        super().__init__()
        self.bare_step, self.steps = bare_step, steps
        self.seconds: list[float] = []
        self.bare_seconds: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        if batch + 1 == LEFT_OUT:
            self.started = _when(logs["loss"])
        elif batch + 1 == self.steps:
            self.seconds.append(_when(logs["loss"]) - self.started)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        losses = [self.bare_step() for _ in range(LEFT_OUT)]
        started = _when(losses[-1])
        losses = [self.bare_step() for _ in range(self.steps - LEFT_OUT)]
        self.bare_seconds.append(_when(losses[-1]) - started)


def _when(loss: Any) -> float:
    """The time at which the device has computed it."""
    float(loss)
    return time.perf_counter()


def _bare_step(model: keras.Model, batch: tuple[Any, ...]) -> Callable[[], Any]:
    """A training step of the compiled `model` on this one batch, which lies on the device, and nothing else of Keras:
    no queue, callback or wait. A call gives the loss.
    """
    batch = tuple(map(ops.convert_to_tensor, batch))
    if backend.name() == "tensorflow":
        import tensorflow as tf

        step = model.train_step = tf.function(model.train_step, jit_compile=model.jit_compile)  # is traced once
        return lambda: step(batch)["loss"]
    import jax

    step, state = jax.jit(model.train_step, donate_argnums=0), []

    def run() -> Any:
        if not state:  # a copy, as each step overwrites what it is handed
            kinds = (
                model.trainable_variables, model.non_trainable_variables, model.optimizer.variables,
                model.metrics_variables,
            )  # fmt: skip
            state[:] = [[variable.value.copy() for variable in kind] for kind in kinds]
        logs, state[:] = step(tuple(state), batch)
        return logs["loss"]

    return run


def speed(backbone: str, side: int, folder: Path, tiny: bool) -> Outcome:
    """A training with the recipe's augmentation, mixing and precision, from a mapped file, sees at least KEPT_UP of the
    images a second of a loop of nothing but the same steps on one batch that lies on the device.

    By turns, an epoch of each; the first ones compile and are left out, and so are an epoch's first steps. A training
    counts its epoch from LEFT_OUT to its last step: neither validation nor checkpoint.
    """
    steps, epochs = (6, 2) if tiny else (32, 4)
    recipe = recipe_of(RATED[backbone], tiny, epochs=epochs)
    backend.start(PARAMS.seed, recipe.precision, PARAMS.deterministic, tf32=True)
    drawn, classes = _samples(recipe, 32 if tiny else side, steps * recipe.batch)
    np.save(folder / "inputs.npy", drawn.inputs)
    samples = Samples(np.load(folder / "inputs.npy", mmap_mode="r"), drawn.targets, drawn.rows)
    few = Samples(samples.inputs, samples.targets, samples.rows[: recipe.batch])
    with closing(Batches(few, recipe.batch, mixing=recipe.mixing)) as batches:
        batch = batches[0]
    clocks, keras_fit = [], keras.Model.fit

    def timed(model: keras.Model, *args: Any, callbacks: list[Any], **named: Any) -> Any:
        clocks.append(_Clock(_bare_step(model, batch), steps))
        return keras_fit(model, *args, callbacks=[*callbacks, *clocks], **named)

    keras.Model.fit = timed
    losses = _fit(_build(recipe, samples, classes), samples, few, recipe, folder / "state.npz", classes)
    (clock,) = clocks  # one phase
    seconds, bare_seconds = clock.seconds[1:], clock.bare_seconds[1:]
    ratios = sorted(bare / own for own, bare in zip(seconds, bare_seconds, strict=True))
    images = (steps - LEFT_OUT) * recipe.batch
    rate, ratio = images / statistics.median(seconds), statistics.median(ratios)
    judged = bool(gpus.usable())
    return {
        "holds": bool(np.isfinite(losses).all()) and (ratio >= KEPT_UP or not judged),
        "detail": f"{rate:.0f} images/s at {samples.inputs.shape[1]} px in {recipe.precision}, {ratio:.3f} "
        f"[{ratios[0]:.3f}, {ratios[-1]:.3f}] of the bare loop's "
        + (f"(at least {KEPT_UP})" if judged else "(not judged without a GPU)"),
        "images_per_second": rate,
        "bare_images_per_second": images / statistics.median(bare_seconds),
        "ratios": ratios,
    }
