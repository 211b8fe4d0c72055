"""How fast a packaged model answers on ONNX Runtime against its Keras model, and how long its start takes.

    python benchmarks/serving_speed.py WEIGHTS    # MobileNet's, alpha 0.75, 224 px, without top

All answer the same batch of 32 JPEGs of 600 x 450, read and resized by the same code: for Keras one image after the
other and the network on the whole batch at once, on the threads that TensorFlow chooses, called by `predict_on_batch`,
and as MLflow's pyfunc of a Keras model calls it (`predict`). Printed: seconds a batch (the median of 80, taken in turn,
and the least), by the clock and of CPU, for the whole answer and for the network alone, their ratios, and the seconds
in a new process from the interpreter's start to a model that can answer.
"""

import subprocess
import sys
import time
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import machine
import mlflow.keras
import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd
from PIL import Image

from medpipe import backend
from medpipe.models import delivery
from medpipe.models.build import build
from medpipe.models.export import export
from medpipe.params import load
from medpipe.serving import package
from medpipe.serving.predictor import Predictor

ROUNDS, BATCH, SIDE = 80, 32, 224
STARTS = {
    "pyfunc": "import mlflow.pyfunc; mlflow.pyfunc.load_model({package!r})",
    "without MLflow": "import sys; sys.path.insert(0, {package!r} + '/code'); "
    "from {code}.serving.predictor import load; load({package!r})",
}


def main(weights: str) -> None:
    machine.describe()
    backend.start(0, "float32", deterministic=False)
    keras.config.disable_interactive_logging()
    recipe = load(Path(__file__).parents[1]).models["chest-mobilenetv2"]
    changes = {"backbone": "MobileNet", "options": {"alpha": 0.75}, "weights": weights}
    recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update=changes)})
    classes = ("a", "b", "c")
    model = build(recipe, (SIDE, SIDE, 3), len(classes), {})
    variant = {"task": "t", "kind": "images", "square": False, "sizes": (SIDE,), "equalise": False, "mask_values": None}
    variant["decoding"] = {"window": None, "frames": "refuse", "axis": None, "context": 0, "max_voxels": 1 << 20}
    served = {"flips": [], "temperature": 1.0, "rule": None}
    rng = np.random.default_rng(0)
    cases = pd.DataFrame({"image": [jpeg(rng) for _ in range(BATCH)]})
    with TemporaryDirectory() as name:
        folder = Path(name) / "model"
        folder.mkdir()
        about = {"name": "m", "task": "t", "kind": "classifier", "classes": classes, "inputs": ("t-images",)}
        about |= {"variants": (variant,), "features": ((),), "stats": {}, "threshold": None, "settings": {}}
        delivery.Delivery(**about).write(folder, model)
        (folder / delivery.GRAPH).write_bytes(export(model))
        reader = Predictor(folder, 10**7, **served)
        pixels = rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
        mlflow.keras.save_model(model, f"{name}/keras", signature=mlflow.models.infer_signature(pixels))
        networks = {
            "ONNX Runtime": reader.session,
            "Keras": model,
            "Keras pyfunc": Pyfunc(mlflow.pyfunc.load_model(f"{name}/keras")),
        }
        calls = {}
        for library, network in networks.items():
            reads = reader if network is reader.session else with_keras(Predictor(folder, 10**7, **served), network)
            calls[library, "answer"] = partial(reads.predict, cases)
            calls[library, "network"] = partial(network.predict_on_batch, pixels)
        found = timed(calls)
        for (library, what), seconds in found.items():
            (wall, cpu), (least, _) = np.median(seconds, axis=0), seconds.min(axis=0)
            print(f"{library}, the {what}: {wall:.3f} s a batch of {BATCH}, at least {least:.3f}; {cpu:.3f} s of CPU")
        for library, what in [key for key in found if key[0] != "ONNX Runtime"]:
            theirs, ours = found[library, what], found["ONNX Runtime", what]
            (wall, cpu), (least, _) = (of(theirs, axis=0) / of(ours, axis=0) for of in (np.median, np.min))
            print(f"{library} / ONNX Runtime, the {what}: {wall:.2f}, of the least {least:.2f}; of CPU {cpu:.2f}")
        package.save(folder, Path(name) / "package", 10**7, served)
        [code] = (Path(name) / "package/code").iterdir()
        for way, script in STARTS.items():
            program = "import time; {}; print(time.process_time())".format(
                script.format(package=str(Path(name) / "package"), code=code.name)
            )
            walls, cpus = [], []
            for _ in range(3):
                begun = time.perf_counter()
                cpus.append(float(subprocess.check_output([sys.executable, "-c", program], cwd=name)))
                walls.append(time.perf_counter() - begun)
            print(f"start, {way}: {min(walls):.2f} s, {min(cpus):.2f} s of CPU")


class Pyfunc:
    """MLflow's own of a Keras model, called as a network is here."""

    def __init__(self, model: mlflow.pyfunc.PyFuncModel) -> None:
        self.predict_on_batch = model.predict


def with_keras(reader: Predictor, network: Any) -> Predictor:
    reader.session, reader.pool = network, OneByOne()
    return reader


def jpeg(rng: np.random.Generator) -> bytes:
    buffer = BytesIO()
    coarse = Image.fromarray(rng.integers(0, 256, (45, 60, 3), np.uint8))
    coarse.resize((600, 450), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


class OneByOne:
    """In place of a pool of threads."""

    def map(self, call, values):
        return map(call, values)


def timed(calls: dict) -> dict:
    """(rounds, 2) seconds by the clock and of CPU of each call, each behind one more that traces and warms up."""
    found = {key: [] for key in calls}
    for _ in range(ROUNDS):
        for key, call in calls.items():
            call()
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            found[key].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {key: np.array(seconds) for key, seconds in found.items()}


if __name__ == "__main__":
    main(sys.argv[1])
