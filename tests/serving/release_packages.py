"""Packages of this release, which every later one must load and which must answer as they do now.

    python tests/serving/release_packages.py

Written to tests/serving/packages/<version>: two tiny models, not trained, each as a .zip, and beside it a .json
of cases and what it answers. Once committed they are never changed.
"""

import base64
import json
import shutil
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pandas as pd
from keras import layers, ops
from PIL import Image

from medpipe import backend
from medpipe.evaluation.ood import fit
from medpipe.models import delivery, ood
from medpipe.models.embedding import EMBEDDING, observed
from medpipe.models.export import export
from medpipe.serving import package
from medpipe.serving.predictor import load

PACKAGES, SIDE, CLASSES = Path(__file__).parent / "packages", 16, ("mel", "nv", "vasc")
IMAGES = {"task": "skin", "kind": "images", "square": True, "sizes": (24, SIDE), "equalise": False}
IMAGES |= {
    "decoding": {"window": None, "frames": "refuse", "axis": None, "context": 0, "max_voxels": 1 << 20},
    "mask_values": None,
}
FEATURES = {"age": {"range": (0, 120), "bands": ()}, "sex": {"values": ("male", "female")}}
TABLE = {"task": "skin", "kind": "table", "features": FEATURES}
COLUMNS = ("age", "sex_male", "sex_female", "sex_unknown")
RULE = {"of": "mel", "threshold": 0.355, "refer": 0.35, "least": (0.3, 0.3, 0.3)}


def image_branch() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2, padding="same")(image / 64)))
    return image, layers.Flatten()(layers.AveragePooling2D(2)(x))


def image_model() -> keras.Model:
    image, x = image_branch()
    embedding = layers.Dense(4, name=EMBEDDING)(x)
    return keras.Model(image, layers.Dense(len(CLASSES), activation="softmax")(embedding))


def table_image_model() -> keras.Model:
    image, x = image_branch()
    table = keras.Input((len(COLUMNS),), name="table")
    known = ops.where(ops.isnan(table), np.float32(50), table) / 50
    joined = layers.Dense(8, activation="tanh")(layers.Concatenate()([known, x]))
    return keras.Model([table, image], layers.Dense(len(CLASSES), activation="softmax")(joined))


MODELS = {
    "image": (image_model, (IMAGES,), ((),), {"flips": ["horizontal"], "temperature": 1.3, "rule": RULE}),
    "table-image": (
        table_image_model, (TABLE, IMAGES), (COLUMNS, ()), {"flips": [], "temperature": 0.8, "rule": None},
    ),
}  # fmt: skip


def cases() -> list[dict[str, object]]:
    """JPEGs and PNGs of two sizes as data URIs, metadata known and not; the last row's image is none."""
    rng, rows = np.random.default_rng(0), []
    for i in range(6):
        coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
        kind = ("jpeg", "png")[i % 2]
        coarse.resize((40 + 8 * i, 30), Image.Resampling.BICUBIC).save(buffer := BytesIO(), kind)
        uri = f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()
        rows.append({"image": uri, "age": None if i == 2 else 15 * i, "sex": ("male", "female", "unknown")[i % 3]})
    return [*rows, rows[0] | {"image": "data:image/png;base64,AAAA"}]


def write(name: str, folder: Path) -> None:
    """The package `name` and its cases into the folder."""
    make, variants, features, served = MODELS[name]
    keras.utils.set_random_seed(1)
    model = make()
    with TemporaryDirectory() as scratch:
        delivered = Path(scratch) / f"skin-{name}"
        delivered.mkdir()
        about = {"name": delivered.name, "task": "skin", "kind": "classifier", "classes": CLASSES, "stats": {}}
        about |= {"variants": variants, "features": features, "threshold": None, "settings": {}}
        inputs = tuple(f"skin-{variant['kind']}" for variant in variants)
        delivery.Delivery(**about, inputs=inputs).write(delivered, model)
        if (seen := observed(model)) is not None:
            noise = np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE, 3)).astype(np.float32)
            embedding = np.asarray(seen.predict_on_batch(noise)[EMBEDDING])
            ood.write(fit(embedding[:40], np.arange(40) % 3, embedding[40:]), delivered / ood.FILE)
        (delivered / delivery.GRAPH).write_bytes(export(seen or model))
        package.save(delivered, Path(scratch) / "package", 10_000, served)
        rows = cases()
        answers = load(Path(scratch) / "package").predict(pd.DataFrame(rows))
        told = {"cases": rows, "answers": json.loads(answers.to_json(orient="records", double_precision=15))}
        shutil.make_archive(str(folder / name), "zip", Path(scratch) / "package")
    (folder / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")


def main() -> None:
    backend.start(0, "float32")
    folder = PACKAGES / version("medpipe")
    folder.mkdir(parents=True)  # of a release that has its packages: an error
    for name in MODELS:
        write(name, folder)


if __name__ == "__main__":
    main()
