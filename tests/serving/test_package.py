import json
import os
import shutil
import subprocess
import sys
from io import BytesIO

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers, ops
from PIL import Image

from medpipe import backend
from medpipe.models import cascade
from medpipe.models.predict import predict
from medpipe.serving import package

SIZE = 32
IMAGES = {"task": "skin", "kind": "images", "square": False, "sizes": (48, SIZE), "equalise": False}
SLICES = IMAGES | {"task": "brain", "sizes": (SIZE,)}
TABLE = {"task": "skin", "kind": "table"}
FEATURES = ("age", "sex_male", "sex_female", "sex_unknown", "localization_back", "localization_lower extremity")
FEATURES += ("localization_unknown",)
CLASSES = ("mel", "nv", "vasc")
HEALTH = ("healthy", "tumour")
PIXELS = 10_000  # at most; the cases have 70 x 50
FLIPS = ("horizontal", "vertical")

# What another service does, in a process without this package but for what travels with the model.
SERVICE = """
import base64, sys
from pathlib import Path
import numpy as np
import pandas as pd
sys.path = [path for path in sys.path if Path(path) != Path(sys.argv[1])]
import mlflow
for model in sorted(Path(sys.argv[2]).iterdir()):
    loaded = mlflow.pyfunc.load_model(str(model))
    assert sys.modules["medpipe"].__file__.startswith(str(model)), sys.modules["medpipe"].__file__
    cases = pd.read_pickle(sys.argv[3])
    loaded.predict(cases).to_pickle(sys.argv[4] + f"/{model.name}-paths")
    cases["image"] = [Path(path).read_bytes() for path in cases["image"]]
    loaded.predict(cases).to_pickle(sys.argv[4] + f"/{model.name}-bytes")
    cases["image"] = ["data:image/jpeg;base64," + base64.b64encode(data).decode() for data in cases["image"]]
    loaded.predict(cases).to_pickle(sys.argv[4] + f"/{model.name}-uris")
    for name in [name for name in sys.modules if name.split(".")[0] == "medpipe"]:
        del sys.modules[name]  # the next model brings its own
"""


def convolutional(units, activation):
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(4, 3, strides=4, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(units, activation=activation, name="probabilities")(layers.Flatten()(x)))


def fused():
    table = keras.Input((len(FEATURES),), name="table")
    x = ops.where(ops.isnan(table), np.float32(0.5), table) / 10
    images = convolutional(4, "relu")
    x = layers.Concatenate()([x, images.output])
    return keras.Model([table, images.input], layers.Dense(len(CLASSES), activation="softmax")(x))


def segmenting():
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(layers.Rescaling(1 / 64, offset=-2)(inputs))
    return keras.Model(inputs, x)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Raw cases: 40 JPEGs of 70 x 50 pixels, more than a batch, and metadata."""
    folder = tmp_path_factory.mktemp("cases")
    generator = np.random.default_rng(0)
    paths = [str(folder / f"{i}.jpg") for i in range(40)]
    for path in paths:
        coarse = Image.fromarray(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        coarse.resize((70, 50), Image.Resampling.BICUBIC).save(path)
    table = pd.DataFrame({"image": paths, "age": generator.integers(0, 86, len(paths)).astype(float)})
    table["sex"] = generator.choice(["male", "female", "unknown"], len(paths))
    table["localization"] = generator.choice(["back", "lower extremity"], len(paths))
    table.loc[3, "age"] = np.nan
    table.loc[4, ["sex", "localization"]] = None
    return table


def images(cases, sizes):
    read = []
    for path in cases["image"]:
        image = Image.open(path).convert("RGB")
        for size in sizes:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        read.append(np.asarray(image))
    return np.stack(read)


def evaluated(model, *inputs):
    """The outputs that evaluate measures."""
    return predict(model, inputs, np.arange(len(inputs[0])), flips=FLIPS)


def features(cases):
    sex, place = cases["sex"].fillna("unknown"), cases["localization"].fillna("unknown")
    columns = [cases["age"], *(sex == value for value in ("male", "female", "unknown"))]
    columns += [place == value for value in ("back", "lower extremity", "unknown")]
    return np.stack([column.to_numpy(np.float32) for column in columns], axis=1)


@pytest.fixture(scope="module")
def models(cases):
    """Models, and what they are delivered with."""
    backend.start(0, "float32")
    classifier, segmenter = convolutional(1, "sigmoid"), segmenting()
    ranked = np.sort(evaluated(classifier, images(cases, SLICES["sizes"]))["output"][:, 0])
    threshold = float(ranked[19:21].mean())  # half of the cases are above
    brain = {"task": "brain", "classes": HEALTH, "variants": (SLICES,), "features": ((),)}
    skin = {"task": "skin", "classes": CLASSES}
    return {
        "skin-image": (convolutional(len(CLASSES), "softmax"), skin | {"variants": (IMAGES,), "features": ((),)}),
        "skin-early": (fused(), skin | {"variants": (TABLE, IMAGES), "features": (FEATURES, ())}),
        "brain-classifier": (classifier, brain),
        "brain-resunet": (segmenter, brain | {"kind": "segmenter"}),
        "brain-cascade": (
            cascade.compose(classifier, segmenter),
            brain | {"kind": "cascade", "threshold": threshold},
        ),
    }


@pytest.fixture(scope="module")
def packages(models, deliver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    deliveries = tmp_path_factory.mktemp("models")
    for name, (model, about) in models.items():
        package.save(deliver(deliveries / name, model, **about), folder / name, PIXELS, FLIPS)
    shutil.rmtree(deliveries)  # a package is whole
    return folder


@pytest.fixture(scope="module")
def served(packages, cases, tmp_path_factory):
    """What a service in another folder gets from each package, as {model: {paths, bytes, uris: its answer}}."""
    folder = tmp_path_factory.mktemp("service")
    cases.to_pickle(folder / "cases")
    (folder / "answers").mkdir()
    arguments = [package.PACKAGE.parent, packages, folder / "cases", folder / "answers"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI", "DVC_ROOT")}
    command = [sys.executable, "-c", SERVICE, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    answers: dict[str, dict[str, pd.DataFrame]] = {}
    for path in (folder / "answers").iterdir():
        name, way = path.name.rsplit("-", 1)
        answers.setdefault(name, {})[way] = pd.read_pickle(path)
    return answers


def test_a_packaged_classifier_gives_its_models_probabilities(models, served, cases):
    expected = evaluated(models["skin-image"][0], images(cases, IMAGES["sizes"]))["output"]
    answer = served["skin-image"]["paths"]
    assert list(answer) == [*CLASSES, "label"]
    np.testing.assert_allclose(answer[list(CLASSES)], expected, atol=1e-5)
    assert answer["label"].tolist() == [CLASSES[i] for i in expected.argmax(axis=1)]
    assert np.ptp(expected, axis=0).max() > 0.01  # the images differ, so a mix-up would show


def test_a_packaged_fusion_reads_raw_metadata_and_images(models, served, cases):
    inputs = features(cases), images(cases, IMAGES["sizes"])
    expected = evaluated(models["skin-early"][0], *inputs)["output"]
    np.testing.assert_allclose(served["skin-early"]["paths"][list(CLASSES)], expected, atol=1e-5)


def test_a_packaged_classifier_of_two_classes_gives_both(models, served, cases):
    p = evaluated(models["brain-classifier"][0], images(cases, SLICES["sizes"]))["output"]
    answer = served["brain-classifier"]["paths"]
    np.testing.assert_allclose(answer[list(HEALTH)], np.concatenate([1 - p, p], axis=1), atol=1e-5)


def test_a_packaged_segmenter_gives_masks_of_the_images_size(models, served, cases):
    masks = evaluated(models["brain-resunet"][0], images(cases, SLICES["sizes"]))["output"][..., 0] >= 0.5
    answer = served["brain-resunet"]["paths"]
    assert list(answer) == ["tumour", "share", "mask"]
    assert answer["tumour"].tolist() == masks.any(axis=(1, 2)).tolist()
    np.testing.assert_allclose(answer["share"], masks.mean(axis=(1, 2)))
    for mask, png in zip(masks, answer["mask"], strict=True):
        image = Image.open(BytesIO(png))
        whole = Image.fromarray(mask.astype(np.uint8) * 255).resize((70, 50), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(whole))


def test_a_packaged_cascade_empties_masks_below_its_threshold(models, served, cases):
    outputs = evaluated(models["brain-cascade"][0], images(cases, SLICES["sizes"]))
    answer = served["brain-cascade"]["paths"]
    p = outputs["tumour"][:, 0]
    np.testing.assert_allclose(answer["p_tumour"], p, atol=1e-5)
    above = p >= models["brain-cascade"][1]["threshold"]
    assert above.sum() == 20
    found = (outputs["mask"] >= 0.5).any(axis=(1, 2, 3))
    assert found[~above].any()
    assert answer["tumour"].tolist() == (found & above).tolist()
    assert not answer["share"][~above].any()


@pytest.mark.parametrize("name", ["skin-image", "skin-early", "brain-classifier", "brain-resunet", "brain-cascade"])
def test_paths_bytes_and_data_uris_give_the_same(served, name):
    for way in ("bytes", "uris"):
        pd.testing.assert_frame_equal(served[name]["paths"], served[name][way])


def test_a_package_tells_signature_example_and_versions(packages):
    import mlflow

    info = mlflow.models.get_model_info(str(packages / "skin-early"))
    assert info.signature.inputs.input_names() == ["image", "age", "sex", "localization"]
    assert info.signature.outputs.input_names() == [*CLASSES, "label"]
    example = json.loads((packages / "skin-early/serving_input_example.json").read_text())["dataframe_split"]
    assert example["columns"] == ["image", "age", "sex", "localization"]
    assert example["data"][0][0].startswith("data:image/png;base64,")
    wanted = (packages / "skin-early/requirements.txt").read_text().split()
    assert f"keras=={keras.__version__}" in wanted
    code = {
        str(path.relative_to(packages / "skin-early/code/medpipe")) for path in packages.glob("skin-early/code/**/*.py")
    }
    assert code == set(package.CODE)


def test_packaging_imports_no_backend():
    program = "import sys, mlflow.pyfunc, medpipe.registry.publish; print({'keras', 'tensorflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


def test_another_limit_flip_or_model_is_another_package(models, deliver, tmp_path):
    model, about = models["skin-image"]
    one, two = deliver(tmp_path / "one", model, **about), deliver(tmp_path / "two", model, **about)
    variants = [(one, PIXELS, ()), (one, PIXELS + 1, ()), (one, PIXELS, FLIPS), (two, PIXELS, ())]
    assert package.digest(one, PIXELS, ()) == package.digest(one, PIXELS, ())
    assert len({package.digest(*variant) for variant in variants}) == 4
