"""How fast a packaged model answers on ONNX Runtime against its Keras model, and how long its start takes.

    python benchmarks/serving_speed.py WEIGHTS    # MobileNet's, alpha 0.75, 224 px, without top

Both answer the same batch of 32 JPEGs of 600 x 450, read and resized by the same code, on the threads that each
library chooses. Printed: seconds a batch (the median of 9), by the clock and of CPU, for the whole answer and for the
network alone, their ratios, and the seconds in a new process from the interpreter's start to a model that can answer.
"""

import statistics
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import machine
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

ROUNDS, BATCH, SIDE = 9, 32, 224
STARTS = {
    "pyfunc": "import mlflow.pyfunc; mlflow.pyfunc.load_model({package!r})",
    "without MLflow": "import sys; sys.path.insert(0, {package!r} + '/code'); "
    "from {code}.serving.predictor import load; load({package!r})",
}


def main(weights: str) -> None:
    machine.describe()
    backend.start(0, "float32", deterministic=False)
    recipe = load(Path(__file__).parents[1]).models["chest-mobilenetv2"]
    changes = {"backbone": "MobileNet", "options": {"alpha": 0.75}, "weights": weights}
    recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update=changes)})
    classes = ("a", "b", "c")
    model = build(recipe, (SIDE, SIDE, 3), len(classes), {})
    variant = {"task": "t", "kind": "images", "square": False, "sizes": (SIDE,), "equalise": False, "mask_values": None}
    variant["decoding"] = {"window": None, "frames": "refuse", "axis": None}
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
        session = reader.session
        pixels = rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
        found = {}
        for library, network in (("ONNX Runtime", session), ("Keras", model)):
            reader.session = network
            for what, call in {
                "answer": lambda: reader.predict(cases),
                "network": lambda network=network: network.predict_on_batch(pixels),
            }.items():
                found[library, what] = wall, cpu = medians(call)
                print(f"{library}, the {what}: {wall:.3f} s a batch of {BATCH}, {cpu:.3f} s of CPU")
        for what in ("answer", "network"):
            ratios = np.divide(found["Keras", what], found["ONNX Runtime", what])
            print(f"Keras / ONNX Runtime, the {what}: {ratios[0]:.1f}, of CPU {ratios[1]:.1f}")
        package.save(folder, Path(name) / "package", 10**7, served)
        [code] = (Path(name) / "package/code").iterdir()
        for way, script in STARTS.items():
            timed = "import time; {}; print(time.process_time())".format(
                script.format(package=str(Path(name) / "package"), code=code.name)
            )
            walls, cpus = [], []
            for _ in range(3):
                begun = time.perf_counter()
                cpus.append(float(subprocess.check_output([sys.executable, "-c", timed], cwd=name)))
                walls.append(time.perf_counter() - begun)
            print(f"start, {way}: {min(walls):.2f} s, {min(cpus):.2f} s of CPU")


def jpeg(rng: np.random.Generator) -> bytes:
    buffer = BytesIO()
    coarse = Image.fromarray(rng.integers(0, 256, (45, 60, 3), np.uint8))
    coarse.resize((600, 450), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def medians(call) -> tuple[float, float]:
    """Seconds by the clock and of CPU, behind a call that traces and warms up."""
    call()
    seconds = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    return tuple(map(statistics.median, zip(*seconds, strict=True)))


if __name__ == "__main__":
    main(sys.argv[1])
