"""The claims of gpu_check.py, each a function that gives {holds, detail, ...}; run by it, in a process of its own."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_models import PARAMS, Outcome, first_steps, recipe_of, served, speed, train
from keras import ops

from medpipe import backend, gpus

# Root mean square error of a float32 product against float64, relative: full float32 has at most about 1e-6, TF32 4e-4.
FLOAT32 = 3e-5
SIMPLE = "chest-convnet"  # the recipe of a small network
SHARE = 0.25  # of the GPU's memory, at most, for a small network


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
    gpus.hold()  # so that both measurements are of one GPU
    before, total = _memory()
    backend.start(PARAMS.seed, "float32")
    train(recipe_of(SIMPLE, tiny), 32, folder)
    taken = _memory()[0] - before
    return {"holds": taken <= SHARE * total, "detail": f"{taken} of {total} MiB", "taken": taken, "total": total}


def _memory() -> tuple[int, int]:
    """MiB in use by all processes, and in all, on the GPU that this process holds."""
    query = ["nvidia-smi", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    command = [*query, f"--id={gpus.usable()[0].gpu}"]
    used, total = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split(",")
    return int(used), int(total)


def two_trainings(folder: Path, tiny: bool) -> Outcome:
    """Of two trainings that begin at once each has a GPU of its own, or they take turns on one.

    This process holds none: its children would inherit that one, and wait for it.
    """
    several = len(gpus.usable()) > 1
    trainings = []
    for name, other in ("ab", "ba"):
        (folder / name).mkdir()
        command = [sys.executable, __file__, "one_training", str(folder / name), *["--tiny"] * tiny]
        meets = {"MEETS": str(folder / other / "holds")} if several else {}
        trainings.append(subprocess.Popen(command, env=os.environ | meets))
    if any(codes := [training.wait() for training in trainings]):
        raise RuntimeError(f"the trainings ended with {codes}; their own messages are above")
    one, other = (json.loads((folder / name / "answer.json").read_text()) for name in "ab")
    together = one["began"] < other["ended"] and other["began"] < one["ended"]
    apart = one["detail"] != other["detail"]
    return {
        "holds": together == several and apart == several,
        "detail": f"on {one['detail']} and {other['detail']}, {'at once' if together else 'one after the other'}",
    }


def one_training(folder: Path, tiny: bool) -> Outcome:
    """A training of `two_trainings`. Where each has its GPU, they wait for each other before they train."""
    backend.start(PARAMS.seed, "float32")
    began = time.time()
    (folder / "holds").touch()
    end = time.monotonic() + 60
    while "MEETS" in os.environ and not Path(os.environ["MEETS"]).exists():
        if time.monotonic() > end:
            raise RuntimeError("the other training holds no GPU while this one does")
        time.sleep(0.1)
    train(recipe_of(SIMPLE, tiny), 32, folder)
    held = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"holds": True, "detail": held, "began": began, "ended": time.time()}


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
