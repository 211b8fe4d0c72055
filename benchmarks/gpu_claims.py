"""The claims of gpu_check.py, each a function that gives {holds, detail, ...}; run by it, in a process of its own."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
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
from medpipe.models.delivery import Delivery, read
from medpipe.training.batches import Batches, Samples
from medpipe.training.fit import fit
from medpipe.training.selection import class_targets

PARAMS = params.load(Path(__file__).parents[1])
TABLE = {"columns": ["age", "male"], "fill": [50.0, 0.0], "mean": [48.0, 0.5], "std": [16.0, 0.5]}
CHANNELS = {"mean": [195.0, 138.0, 145.0], "std": [35.0, 40.0, 45.0]}
SMALL = {"backbone": "MobileNet", "options": {"alpha": 0.25}, "unfreeze": 5}  # in place of a backbone, where tiny
# Root mean square error of a float32 product against float64, relative: full float32 has at most about 1e-6, TF32 4e-4.
FLOAT32 = 3e-5
SHARE = 0.25  # of the GPU's memory, at most, for a small network
KEPT_UP = 0.95  # of the bare loop's images a second, at least
TINY = "--tiny" in sys.argv
STEPS, ROUNDS = (8, 3) if TINY else (42, 5)  # an epoch's steps; epochs of each kind, the first of which is left out
LEFT_OUT = 2  # first steps of an epoch: while they last, nothing has been read ahead

Outcome = dict[str, Any]


def sees_gpu(folder: Path, tiny: bool) -> Outcome:
    """The backend computes on a GPU, and on one alone, once `backend.start` holds it."""
    backend.start(PARAMS.seed, "float32")
    devices = {"tensorflow": _tensorflow_devices, "jax": _jax_devices}[backend.name()]()
    return {
        "holds": len(devices) == 1,
        "detail": f"{', '.join(devices) or 'none'} for CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')}",
    }


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", device.name) for device in devices]


def _jax_devices() -> list[str]:
    import jax

    return [device.device_kind for device in jax.devices() if device.platform == "gpu"]


def full_float32(folder: Path, tiny: bool) -> Outcome:
    """Matrix products and convolutions in float32 are as exact as float32, once `backend.start` has begun to measure,
    and the backend's own setting says so.
    """
    backend.start(PARAMS.seed, "float32")
    errors = float32_errors(lambda a, b: a @ b, ops.conv, 256 if tiny else 2048)
    off = {"tensorflow": _tensorflow_is_exact, "jax": _jax_is_exact}[backend.name()]()
    told = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    return {
        "holds": off and all(error <= FLOAT32 for error in errors.values()),
        "detail": f"relative errors: {told} (at most {FLOAT32:g}); the backend's setting is {'off' if off else 'ON'}",
        "errors": errors,
    }


def float32_errors(product: Callable[..., Any], convolution: Callable[..., Any], width: int) -> dict[str, float]:
    """The relative root mean square errors of a product and a convolution of float32 arrays, against float64."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, width, width)).astype(np.float32)
    images = rng.normal(size=(4, 34, 34, width // 8)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, width // 8, width // 8)).astype(np.float32)
    exact = sum(images[:, i : i + 32, j : j + 32].astype(np.float64) @ kernel[i, j] for i in range(3) for j in range(3))
    pairs = {
        "product": (product(ops.convert_to_tensor(a), ops.convert_to_tensor(b)), a.astype(np.float64) @ b),
        "convolution": (convolution(ops.convert_to_tensor(images), ops.convert_to_tensor(kernel)), exact),
    }
    return {
        name: float(np.sqrt(np.mean((ops.convert_to_numpy(values) - right) ** 2) / np.mean(right**2)))
        for name, (values, right) in pairs.items()
    }


def _tensorflow_is_exact() -> bool:
    import tensorflow as tf

    return not tf.config.experimental.tensor_float_32_execution_enabled()


def _jax_is_exact() -> bool:
    import jax

    return jax.config.jax_default_matmul_precision == "highest"


def memory_growth(folder: Path, tiny: bool) -> Outcome:
    """A small network that trains takes a small part of the GPU's memory."""
    before = _memory()
    backend.start(PARAMS.seed, "float32")
    _train("chest-convnet", 32, folder)
    used, total = (after - was for after, was in zip(_memory(), (before[0], 0), strict=True))
    return {"holds": used <= SHARE * total, "detail": f"{used} of {total} MiB", "used": used, "total": total}


def _memory() -> tuple[int, int]:
    """MiB used and in all, on the GPUs that may be seen."""
    query = ["nvidia-smi", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    listed = [f"--id={','.join(sorted({device.gpu for device in gpus.usable()}))}"]
    rows = subprocess.run(query + listed, check=True, capture_output=True, text=True).stdout.split("\n")
    used, total = np.array([row.split(",") for row in rows if row]).astype(int).sum(0)
    return int(used), int(total)


def two_trainings(folder: Path, tiny: bool) -> Outcome:
    """Of two trainings that begin at once each has a GPU of its own, or they take turns on one."""
    several = len(gpus.usable()) > 1
    trainings = []
    for name, other in ("ab", "ba"):
        (folder / name).mkdir()
        command = [sys.executable, __file__, "one_training", str(folder / name)]
        environment = os.environ | ({"MEETS": str(folder / other / "holds.json")} if several else {})
        trainings.append(subprocess.Popen(command, env=environment))
    codes = [training.wait() for training in trainings]
    if any(codes):
        raise RuntimeError(f"the trainings ended with {codes}; their own messages are above")
    (one, began, ended), (other, starts, ends) = (
        (answer["gpu"], answer["began"], answer["ended"])
        for answer in (json.loads((folder / name / "answer.json").read_text()) for name in "ab")
    )
    together = began < ends and starts < ended
    return {
        "holds": together == several and (one != other) == several,
        "detail": f"on {one} and {other}, {'at once' if together else 'one after the other'}",
    }


def one_training(folder: Path, tiny: bool) -> Outcome:
    """A training of `two_trainings`. Where each has its GPU, they wait for each other before they train."""
    backend.start(PARAMS.seed, "float32")
    began = time.time()
    (folder / "holds.json").touch()
    if meets := os.environ.get("MEETS"):
        end = time.monotonic() + 60
        while not Path(meets).exists():
            if time.monotonic() > end:
                raise RuntimeError("the other training holds no GPU while this one does")
            time.sleep(0.1)
    _train("chest-convnet", 32, folder)
    return {
        "holds": True, "detail": "", "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "began": began, "ended": time.time()
    }  # fmt: skip


def _recipe(name: str, tiny: bool, **changes: object) -> params.Recipe:
    """A recipe as published, of one phase, from a random start; `tiny`: on a small backbone, in small batches."""
    recipe = PARAMS.models[name]
    changes |= {"early_stopping": None}
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
    model = build(recipe, samples.inputs.shape[1:], len(classes), TABLE | {"channels": CHANNELS})
    if isinstance(recipe, params.BackboneRecipe):
        embedding.standardise(model, samples.inputs[: recipe.batch], recipe.batch)
    return model


def _train(name: str, side: int, folder: Path, tiny: bool = True) -> list[float]:
    """The losses of two epochs of two steps."""
    recipe = _recipe(name, tiny, epochs=2)
    samples, classes = _samples(recipe, side, 2 * recipe.batch)
    backend.reset(PARAMS.seed, recipe.precision)
    history = fit(
        _build(recipe, samples, classes), samples, samples, recipe,
        seed=PARAMS.seed, checkpoint=folder / f"{name}.npz", on_epoch=lambda epoch, numbers: None, classes=classes,
    )  # fmt: skip
    return [float(value) for value in history["loss"]]


def first_steps(folder: Path, tiny: bool) -> Outcome:
    """Every recipe's first steps have a finite loss, in its own precision; those of B4 and V2M are taken by `speed`.

    Images of 64 px: what a step is made of does not depend on it.
    """
    backend.start(PARAMS.seed, "float32", PARAMS.deterministic, tf32=True)
    losses, failed = {}, {}
    for name in PARAMS.models:
        if name in RATED.values():
            continue
        try:
            losses[name] = _train(name, 32 if tiny else 64, folder, tiny)
            if not np.isfinite(losses[name]).all():
                failed[name] = f"losses {losses[name]}"
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"[:300]
    detail = "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or ", ".join(losses)
    return {"holds": not failed, "detail": detail, "losses": losses}


def served(backbone: str, side: int, folder: Path, tiny: bool) -> Outcome:
    """What evaluate measures of a model trained in the recipe's precision is what ONNX Runtime serves."""
    name = RATED[backbone]
    backend.start(PARAMS.seed, "float32")
    recipe = _recipe(name, tiny)
    samples, classes = _samples(recipe, 32 if tiny else side, CHECKED)
    backend.reset(PARAMS.seed, recipe.precision)
    model = build(recipe, samples.inputs.shape[1:], len(classes), TABLE | {"channels": CHANNELS})
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
        "holds": True,
        "detail": f"{CHECKED} images' probabilities at most {TOLERANCE:g} apart at {samples.inputs.shape[1]} px",
        "bytes": len(graph),
    }


class _Clock(keras.callbacks.Callback):
    """Times the epochs of a training, and after each one of as many steps on one batch that lies in memory."""

    async_safe = True  # so that Keras does not wait for the device after each step on its account

    def __init__(self, bare: keras.utils.PyDataset | None = None) -> None:
        super().__init__()
        self.bare, self.seconds = bare, []
        self.of_bare: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        if batch + 1 in (LEFT_OUT, STEPS):
            float(logs["loss"])  # waits for the device
            now = time.perf_counter()
            if batch + 1 == LEFT_OUT:
                self.started = now
            else:
                self.seconds.append(now - self.started)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.bare is not None:
            clock = _Clock()
            _FIT(self.model, self.bare, verbose=0, shuffle=False, callbacks=[clock])
            self.of_bare += clock.seconds


class _Constant(keras.utils.PyDataset):
    """The same batch, STEPS times."""

    def __init__(self, batch: tuple[Any, ...]) -> None:
        super().__init__()
        self.batch = batch

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.batch


_FIT = keras.Model.fit


def speed(backbone: str, side: int, folder: Path, tiny: bool) -> Outcome:
    """A training with the recipe's augmentation, mixing and precision, from a mapped file, sees at least KEPT_UP of the
    images a second that Keras' own loop reaches on one batch in memory.

    By turns, an epoch of each; the first ones compile and are left out, and so are an epoch's first steps. A training
    counts its epoch from LEFT_OUT to its last step: neither validation nor checkpoint.
    """
    name = RATED[backbone]
    recipe = _recipe(name, tiny, epochs=ROUNDS)
    backend.start(PARAMS.seed, recipe.precision, PARAMS.deterministic, tf32=True)
    drawn, classes = _samples(recipe, 32 if tiny else side, STEPS * recipe.batch)
    np.save(folder / "inputs.npy", drawn.inputs)
    samples = Samples(np.load(folder / "inputs.npy", mmap_mode="r"), drawn.targets, drawn.rows)
    few = Samples(samples.inputs, samples.targets, samples.rows[: recipe.batch])
    batches = Batches(few, recipe.batch, augmentation=recipe.augmentation, mixing=recipe.mixing, processes=0)
    clock = _Clock(_Constant(batches[0]))
    batches.close()

    def timed(model: keras.Model, *args: Any, callbacks: Any, **named: Any) -> Any:
        return _FIT(model, *args, callbacks=[*callbacks, clock], **named)

    keras.Model.fit = timed
    history = fit(
        _build(recipe, samples, classes), samples, few, recipe,
        seed=PARAMS.seed, checkpoint=folder / "state.npz", on_epoch=lambda epoch, numbers: None, classes=classes,
    )  # fmt: skip
    ratios = sorted(bare / ours for ours, bare in zip(clock.seconds[1:], clock.of_bare[1:], strict=True))
    images = (STEPS - LEFT_OUT) * recipe.batch
    rate, bare_rate = (images / statistics.median(seconds[1:]) for seconds in (clock.seconds, clock.of_bare))
    ratio = statistics.median(ratios)
    judged = bool(gpus.usable())
    return {
        "holds": bool(np.isfinite(history["loss"]).all()) and (ratio >= KEPT_UP or not judged),
        "detail": f"{rate:.0f} images/s at {samples.inputs.shape[1]} px in {recipe.precision}, {ratio:.3f} "
        f"[{ratios[0]:.3f}, {ratios[-1]:.3f}] of the bare loop's "
        + (f"(at least {KEPT_UP})" if judged else "(not judged without a GPU)"),
        "images_per_second": rate,
        "bare": bare_rate,
        "ratios": ratios,
    }


RATED = {"EfficientNetB4": "skin-b4", "EfficientNetV2M": "skin-v2m"}
CLAIMS: dict[str, Callable[[Path, bool], Outcome]] = {
    "sees_gpu": sees_gpu,
    "full_float32": full_float32,
    "memory_growth": memory_growth,
    "two_trainings": two_trainings,
    "one_training": one_training,
    "first_steps": first_steps,
    "served_b4": lambda folder, tiny: served("EfficientNetB4", 380, folder, tiny),
    "served_v2m": lambda folder, tiny: served("EfficientNetV2M", 480, folder, tiny),
    "speed_b4": lambda folder, tiny: speed("EfficientNetB4", 380, folder, tiny),
    "speed_v2m": lambda folder, tiny: speed("EfficientNetV2M", 480, folder, tiny),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("claim", choices=CLAIMS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    outcome = CLAIMS[arguments.claim](arguments.folder, arguments.tiny)
    (arguments.folder / "answer.json").write_text(json.dumps(outcome))
