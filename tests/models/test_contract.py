"""What is delivered says what the Keras model says: every architecture and fusion, in a process without Keras."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT
from PIL import Image
from small_models import SIDE, SMALL, change

from medpipe import backend, fingerprint
from medpipe.data.images import decode, to_array
from medpipe.evaluation import ood as fitted
from medpipe.evaluation.exported import exported
from medpipe.models import cascade, delivery, fusion, ood, resunet
from medpipe.models import network as keras_side
from medpipe.models.build import build
from medpipe.models.embedding import observed
from medpipe.models.mean import mean
from medpipe.models.predict import predict
from medpipe.models.temperature import temper
from medpipe.params import PreparedImages, PreparedTable
from medpipe.serving import package
from medpipe.serving.cases import encode

CLASSES, HEALTH = ("mel", "nv", "vasc"), ("healthy", "tumour")
IMAGES = {"task": "skin", "kind": "images", "square": False, "sizes": (SIDE,), "equalise": False}
IMAGES |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}
SLICES = IMAGES | {"task": "brain", "mask_values": {"tumour": (255,)}}
FEATURES = {"age": {"range": (0, 120), "bands": ()}, "sex": {"values": ("male", "female")}}
TABLE = {"task": "skin", "kind": "table", "features": FEATURES}
COLUMNS = ("age", "sex_male", "sex_female", "sex_unknown")
STATS = {"columns": COLUMNS, "fill": [50.0, 0, 0, 1], "mean": [48.0, 0, 0, 0], "std": [16.0, 1, 1, 1]}
STATS |= {"channels": {"mean": [120.0, 130.0, 140.0], "std": [60.0, 50.0, 40.0]}}
TEMPERATURE, CASES, PIXELS = 1.3, 16, 10_000

SERVICE = """
import sys
from pathlib import Path
import keras
import numpy as np
import pandas as pd
sys.path = [path for path in sys.path if Path(path) != Path(sys.argv[1])]
sys.modules |= dict.fromkeys(("keras", "tensorflow", "medpipe"))  # to import them raises
import mlflow
cases = pd.read_csv(sys.argv[3])
cases["image"] = [Path(path).read_bytes() for path in cases["image"]]
for folder in Path(sys.argv[2]).iterdir():
    model = mlflow.pyfunc.load_model(str(folder))
    model.predict(cases).to_parquet(f"{sys.argv[4]}/{folder.name}.parquet")
"""


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Of several sizes, with unknown metadata."""
    folder, rng = tmp_path_factory.mktemp("cases"), np.random.default_rng(0)
    paths = [str(folder / f"{i}.png") for i in range(CASES)]
    for i, path in enumerate(paths):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((60 + i, 50), Image.Resampling.BICUBIC).save(path)
    table = pd.DataFrame({"image": paths, "age": rng.integers(0, 90, CASES).astype(float)})
    table["sex"] = rng.choice(["male", "female", "unknown"], CASES)
    table.loc[2, "age"] = np.nan
    return table


def network(name, classes=3, **changes):
    """One architecture, whose normalisations have statistics as after a training."""
    recipe, rng = SMALL[name], np.random.default_rng(1)
    recipe = change(recipe, **changes) if changes else recipe
    shape = (len(COLUMNS),) if name == "mlp" else (SIDE, SIDE, 3)
    model = build(recipe, shape, classes, STATS)
    for weight in model.weights:
        if len(weight.shape) == 1 and "moving" not in weight.path:
            weight.assign(weight + rng.normal(0, 0.1, weight.shape))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        coarse = rng.integers(0, 256, (16, 4, 4, 3)).repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)
        model(coarse.astype(np.float32), training=True)
    for norm in norms:
        variance = np.asarray(norm.moving_variance)
        norm.moving_variance.assign(variance + 0.1 * variance.mean())  # or a channel that never varies explodes
    return model


def late():
    members = network("mlp"), network("convnet")
    return fusion.compose(members, fusion.late(members, 3, ()), "output")


def early():
    members = network("convnet"), network("mlp")
    return fusion.compose(members, fusion.early(members, 3, (8,)), "embedding")


def half_precision():
    backend.reset(0, "mixed_float16")
    model = network("convnet")
    backend.reset(0, "float32")
    return model


def chained():
    return cascade.compose(network("resnet", 2), network("resunet", 2))


SKIN = {"task": "skin", "classes": CLASSES, "variants": (IMAGES,), "features": ((),)}
TABLES = SKIN | {"variants": (TABLE,), "features": (COLUMNS,)}
BOTH = SKIN | {"variants": (TABLE, IMAGES), "features": (COLUMNS, ())}
BRAIN = {"task": "brain", "classes": HEALTH, "variants": (SLICES,), "features": ((),)}
MASKS = BRAIN | {"kind": "segmenter"}
SEVERAL = SLICES | {"mask_values": {"core": (255,), "oedema": (128,)}}
FLIPS = ("horizontal", "vertical")
# Its model, how it is delivered, and the flips that it is evaluated with.
MODELS = {
    "mlp": (lambda: network("mlp"), TABLES, ()),
    "backbone": (lambda: network("backbone", normalise="data", batch_norm=True), SKIN, ()),
    "flattened": (lambda: network("backbone", pooling="flatten", head=()), SKIN, FLIPS),
    "convnet": (lambda: network("convnet"), SKIN | {"variants": (IMAGES | {"square": True, "equalise": True},)}, ()),
    "mixed-float16": (half_precision, SKIN, ()),
    "resnet": (lambda: network("resnet", 2), BRAIN, ("vertical",)),
    "resunet": (lambda: network("resunet", 2), MASKS, ("horizontal",)),
    "several-masks": (lambda: resunet.build((SIDE, SIDE, 3), 3), MASKS | {"variants": (SEVERAL,)}, ()),
    "late": (late, BOTH, ()),
    "early": (early, BOTH | {"variants": (IMAGES, TABLE), "features": ((), COLUMNS)}, FLIPS),
    "mean": (lambda: mean([network("mlp"), network("convnet")], ["t", "i"], [0.3, 0.7]), BOTH, ()),
    "folds": (lambda: mean([network("convnet"), network("convnet")], ["i"] * 2, [0.5, 0.5]), SKIN, ()),
    "cascade": (chained, BRAIN | {"kind": "cascade", "threshold": 0.5}, ()),
}


@pytest.fixture(scope="module")
def said(cases, deliver, tmp_path_factory):
    """What the Keras models say, and what a service in another folder gets from their packages: {name: (both)}."""
    packages, models, service = (tmp_path_factory.mktemp(name) for name in ("packages", "models", "service"))
    expected, detectors = {}, {}
    for name, (make, about, flips) in MODELS.items():
        backend.start(0, "float32")
        folder = deliver(models / name, make(), **about)
        delivered, model = keras_side.read(folder)
        inputs = [prepared(cases, *part) for part in zip(delivered.variants, delivered.features, strict=True)]
        watched = observed(model)
        expected[name] = predict(watched or model, inputs, np.arange(CASES), CASES, flips)
        graph = exported(name, watched or model, inputs, np.arange(CASES), flips)
        (folder / delivery.GRAPH).write_bytes(graph)
        if watched is not None:
            embedding = expected[name][ood.EMBEDDING]
            detectors[name] = fitted.fit(embedding[:8], np.arange(8) % 2, embedding[8:12])
            ood.write(detectors[name], folder / ood.FILE)
        served = {"flips": flips, "temperature": None if about.get("kind") == "segmenter" else TEMPERATURE}
        package.save(folder, packages / name, PIXELS, served | {"rule": None})
    table = service / "cases.csv"
    cases.to_csv(table, index=False)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI", "DVC_ROOT")}
    arguments = [fingerprint.SOURCE, packages, table, service]
    command = [sys.executable, "-c", SERVICE, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=service, env=environment)
    answers = {name: pd.read_parquet(service / f"{name}.parquet") for name in MODELS}
    return {name: (expected[name], answers[name], detectors.get(name)) for name in MODELS}


def prepared(cases, variant, names):
    if variant["kind"] == "table":
        return encode(cases, PreparedTable(**variant).model_dump(), names)[0]
    settings = PreparedImages(**variant)
    read = [
        decode(Path(path).read_bytes(), name=path, max_pixels=PIXELS, decoding=EIGHT_BIT) for path in cases["image"]
    ]
    return np.stack([to_array(image, settings) for image in read])


@pytest.mark.parametrize("name", MODELS)
def test_the_package_says_what_keras_says(said, name):
    expected, answer, detector = said[name]
    about = MODELS[name][1]
    assert answer["error"].isna().all()
    match about.get("kind", "classifier"):
        case "classifier":
            p = temper(expected["output"], TEMPERATURE)
            np.testing.assert_allclose(answer[[*about["classes"]]], p, atol=1e-5)
            assert answer["label"].tolist() == [about["classes"][i] for i in p.argmax(axis=1)]
            assert np.ptp(p, axis=0).max() > 0.01  # or a mix-up would not show
        case "segmenter":
            p = expected["output"]
            marked = (p >= 0.5).mean(axis=(1, 2, 3)) if p.shape[-1] == 1 else (p.argmax(axis=-1) > 0).mean(axis=(1, 2))
            np.testing.assert_allclose(answer["share"], marked, atol=1 / SIDE**2)
            assert 0 < marked.mean() < 1
        case "cascade":
            np.testing.assert_allclose(answer["p_tumour"], temper(expected["p"], TEMPERATURE)[:, 1], atol=1e-5)
    assert (detector is None) == (about.get("kind") == "segmenter")
    if detector is not None:
        scores = detector.score(expected[ood.EMBEDDING])
        assert answer["ood"][12:].tolist() == scores[12:].tolist()  # the others are those that it was fitted to: ties
