import base64
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, PLAIN
from keras import layers, ops
from PIL import Image

from medpipe import backend, fingerprint
from medpipe.errors import InputError
from medpipe.models import cascade, delivery, ood
from medpipe.models.decision import Rule, decide, name_sets
from medpipe.models.predict import predict
from medpipe.models.temperature import temper
from medpipe.serving import code, manifest, package
from medpipe.serving.predictor import _load_pyfunc as load_pyfunc
from medpipe.serving.predictor import load

SIZE = 32
IMAGES = {"task": "skin", "kind": "images", "square": False, "sizes": (48, SIZE), "equalise": False}
IMAGES |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}
SLICES = IMAGES | {"task": "brain", "sizes": (SIZE,), "mask_values": {"tumour": (255,)}}
DECLARED = {
    "age": {"range": (0, 120), "bands": ()},
    "sex": {"values": ("male", "female")},
    "localization": {"values": ("back", "lower extremity")},
}
TABLE = {"task": "skin", "kind": "table", "features": DECLARED}
FEATURES = ("age", "sex_male", "sex_female", "sex_unknown", "localization_back", "localization_lower extremity")
FEATURES += ("localization_unknown",)
CLASSES = ("mel", "nv", "vasc")
HEALTH = ("healthy", "tumour")
PIXELS = 10_000  # at most; the cases have 70 x 50
FLIPS = ("horizontal", "vertical")
SERVED = {"flips": FLIPS, "temperature": 1.7, "rule": None}

# What another service does, in one process without this package but for what travels with the models.
SERVICE = """
import base64, sys
from pathlib import Path
import numpy as np
import pandas as pd
sys.path = [path for path in sys.path if Path(path) != Path(sys.argv[1])]
sys.modules |= dict.fromkeys(("keras", "tensorflow", "medpipe"))  # to import them raises
import mlflow
cases = pd.read_pickle(sys.argv[3])
root = {"image_root": str(Path(sys.argv[3]).parent)}
models = {path.name: mlflow.pyfunc.load_model(str(path), model_config=root) for path in Path(sys.argv[2]).iterdir()}
for name, model in models.items():
    paths = cases.assign(image=[Path(path).name if i % 2 else path for i, path in enumerate(cases["image"])])
    model.predict(paths).to_pickle(sys.argv[4] + f"/{name}-paths")
    read = cases.assign(image=[Path(path).read_bytes() for path in cases["image"]])
    model.predict(read).to_pickle(sys.argv[4] + f"/{name}-bytes")
    read["image"] = ["data:image/jpeg;base64," + base64.b64encode(data).decode() for data in read["image"]]
    model.predict(read).to_pickle(sys.argv[4] + f"/{name}-uris")
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
def rule(models, cases):
    """Thresholds in the middle of what skin-image gives, so that cases go either way."""
    p = temper(evaluated(models["skin-image"][0], images(cases, IMAGES["sizes"]))["output"], SERVED["temperature"])
    middle = np.median(p, axis=0)
    return Rule("mel", float(middle[0]), float(np.quantile(p.max(axis=1), 0.3)), tuple(middle.tolist()))


@pytest.fixture(scope="module")
def packages(models, rule, deliver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    deliveries = tmp_path_factory.mktemp("models")
    for name, (model, about) in models.items():
        served = SERVED | {"rule": asdict(rule) if name == "skin-image" else None}
        package.save(deliver(deliveries / name, model, **about), folder / name, PIXELS, served)
        if name == "skin-image":
            with another_version(tmp_path_factory.mktemp("source")):
                package.save(deliveries / name, folder / "skin-other", PIXELS, served)
    shutil.rmtree(deliveries)  # a package is whole
    return folder


@contextmanager
def another_version(folder):
    """Within, what is packed comes from a copy of this package whose predictor gives other labels."""
    shutil.copytree(fingerprint.SOURCE / "medpipe", folder / "medpipe", ignore=shutil.ignore_patterns("__pycache__"))
    predictor = folder / "medpipe/serving/predictor.py"
    predictor.write_text(predictor.read_text().replace("label=[classes[i]", "label=['other ' + classes[i]"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "SOURCE", folder)
        yield


@pytest.fixture(scope="module")
def served(packages, cases, tmp_path_factory):
    """What a service in another folder gets from each package, as {model: {paths, bytes, uris: its answer}}."""
    folder = tmp_path_factory.mktemp("service")
    table = Path(cases["image"][0]).parent / "cases"  # beside the images
    cases.to_pickle(table)
    (folder / "answers").mkdir()
    arguments = [fingerprint.SOURCE, packages, table, folder / "answers"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI", "DVC_ROOT")}
    command = [sys.executable, "-c", SERVICE, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    answers: dict[str, dict[str, pd.DataFrame]] = {}
    for path in (folder / "answers").iterdir():
        name, way = path.name.rsplit("-", 1)
        answers.setdefault(name, {})[way] = pd.read_pickle(path)
    return answers


def test_a_packaged_classifier_gives_its_models_probabilities(models, rule, served, cases):
    said = evaluated(models["skin-image"][0], images(cases, IMAGES["sizes"]))["output"]
    expected = temper(said, SERVED["temperature"])
    answer = served["skin-image"]["paths"]
    assert list(answer) == [*CLASSES, "label", "decision", "set", "error"]
    np.testing.assert_allclose(answer[list(CLASSES)], expected, atol=1e-5)
    assert answer["label"].tolist() == [CLASSES[i] for i in said.argmax(axis=1)]
    given = answer[list(CLASSES)].to_numpy()
    assert answer["decision"].tolist() == decide(given, CLASSES, rule)
    assert answer["set"].tolist() == name_sets(given, CLASSES, rule)
    assert {"mel", "refer"} < {*answer["decision"]}
    assert answer["set"].nunique() > 2
    assert np.ptp(said, axis=0).max() > 0.01  # the images differ, so a mix-up would show


def test_a_packaged_fusion_reads_raw_metadata_and_images(models, served, cases):
    inputs = features(cases), images(cases, IMAGES["sizes"])
    expected = temper(evaluated(models["skin-early"][0], *inputs)["output"], SERVED["temperature"])
    np.testing.assert_allclose(served["skin-early"]["paths"][list(CLASSES)], expected, atol=1e-5)


def test_a_packaged_classifier_of_two_classes_gives_both(models, served, cases):
    p = evaluated(models["brain-classifier"][0], images(cases, SLICES["sizes"]))["output"]
    answer = served["brain-classifier"]["paths"]
    np.testing.assert_allclose(answer[list(HEALTH)], temper(p, SERVED["temperature"]), atol=1e-5)


def test_a_packaged_segmenter_gives_masks_of_the_images_size(models, served, cases):
    masks = evaluated(models["brain-resunet"][0], images(cases, SLICES["sizes"]))["output"][..., 0] >= 0.5
    answer = served["brain-resunet"]["paths"]
    assert list(answer) == ["tumour", "share", "mask", "error"]
    assert answer["tumour"].tolist() == masks.any(axis=(1, 2)).tolist()
    np.testing.assert_allclose(answer["share"], masks.mean(axis=(1, 2)))
    for mask, png in zip(masks, answer["mask"], strict=True):
        image = Image.open(BytesIO(png))
        whole = Image.fromarray(mask.astype(np.uint8) * 255).resize((70, 50), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(whole))


def test_a_packaged_cascade_empties_masks_below_its_threshold(models, served, cases):
    outputs = evaluated(models["brain-cascade"][0], images(cases, SLICES["sizes"]))
    answer = served["brain-cascade"]["paths"]
    p = outputs["p"][:, 0]
    np.testing.assert_allclose(answer["p_tumour"], temper(outputs["p"], SERVED["temperature"])[:, 1], atol=1e-5)
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
    assert info.signature.outputs.input_names() == [*CLASSES, "label", "error"]
    example = json.loads((packages / "skin-early/serving_input_example.json").read_text())["dataframe_split"]
    assert example["columns"] == ["image", "age", "sex", "localization"]
    assert example["data"][0][0].startswith("data:image/png;base64,")
    wanted = (packages / "skin-early/requirements.txt").read_text().split()
    assert [name.partition("==")[0] for name in wanted] == [*package.LIBRARIES]
    [brought] = (packages / "skin-early/code").iterdir()
    assert brought.name == f"medpipe_{code.digest()}"
    found = {path.relative_to(brought).as_posix(): path.read_text() for path in brought.rglob("*.py")}
    assert set(found) > {"serving/predictor.py", "models/delivery.py", "params/data.py", "errors.py"}
    # Keras' registry is one a process, so that two versions of an object of ours would meet in it.
    assert not [name for name, source in found.items() if "register_keras_serializable" in source]


def test_a_package_wants_what_reads_the_files_that_its_images_come_in(packages):
    def wanted(**decoding):
        images = IMAGES | {"decoding": EIGHT_BIT.model_dump() | decoding}
        return {name.partition("==")[0] for name in package.requirements(replace(recipe, variants=(TABLE, images)))}

    recipe, base = delivery.read_recipe(packages / "skin-early/data/skin-early"), {*package.LIBRARIES}
    assert wanted() == base
    assert wanted(window="full") == base | {"pydicom"}
    assert wanted(window="full", axis=2) == base | {"pydicom", "nibabel"}


def test_a_package_holds_no_pickle_and_its_hashes(packages):
    for folder in packages.iterdir():
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert not [path.name for path in files if re.search(r"pickle|\.(pkl|joblib|dill|pt|bin)$", path.name)]
        # Of protocol 2 and later; and no archive of NumPy's holds objects.
        assert not [path.name for path in files if path.read_bytes()[:1] == b"\x80"]
        assert "python_model" not in (folder / "MLmodel").read_text()  # which MLflow would unpickle
        manifest.check(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder, data: flip(data / "model.onnx"), "data/skin-image/model.onnx was changed; get it again"),
        (lambda folder, data: flip(data / "model.keras"), "data/skin-image/model.keras was changed"),
        (lambda folder, data: flip(next(folder.rglob("predictor.py"))), r"code/\w+/serving/predictor.py was changed"),
        (lambda folder, data: flip(folder / "MLmodel"), "MLmodel was changed"),
        (lambda folder, data: (data / "recipe.json").unlink(), "data/skin-image/recipe.json is not here"),
        (lambda folder, data: (data / "more.npz").touch(), "data/skin-image/more.npz is none of its files"),
        (lambda folder, data: (folder / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
        (lambda folder, data: (folder / "manifest.json").unlink(), "manifest.json cannot be read"),
    ],
)
def test_a_changed_package_is_refused_by_the_files_name(packages, tmp_path, change, message):
    folder = tmp_path / "package"
    shutil.copytree(packages / "skin-image", folder)
    change(folder, folder / "data/skin-image")
    with pytest.raises(InputError, match=f"package: not the model that was packaged: {message}"):
        load_pyfunc(folder / "data/skin-image", {})


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_package_is_loaded_without_mlflow(packages, cases):
    read = cases.assign(image=[Path(path).read_bytes() for path in cases["image"]])
    answer = load(packages / "skin-image").predict(read)
    assert answer["label"].isin(CLASSES).all()
    assert load(packages / "skin-image", str(Path(cases["image"][0]).parent)).predict(cases).equals(answer)


def test_two_versions_in_one_process_each_run_their_own_code(served):
    one, other = served["skin-image"]["bytes"], served["skin-other"]["bytes"]
    pd.testing.assert_frame_equal(one[[*CLASSES]], other[[*CLASSES]])
    assert other["label"].tolist() == ["other " + label for label in one["label"]]


def test_a_comment_is_the_same_code_and_a_statement_other_code(tmp_path):
    before = code.digest()
    for number, (file, text, same) in enumerate(
        [
            ("serving/predictor.py", "# nothing", True),
            ("serving/package.py", "LIBRARIES += ('lz4',)", False),
            ("data/images.py", "FORMATS = ('PNG',)", False),
            ("params/data.py", "Positive = int", False),
        ]
    ):
        shutil.copytree(fingerprint.SOURCE / "medpipe", tmp_path / f"{number}/medpipe")
        with (tmp_path / f"{number}/medpipe" / file).open("a") as opened:
            opened.write(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fingerprint, "SOURCE", tmp_path / str(number))
            assert (code.digest() == before) == same


def test_what_publishes_depends_on_the_code_that_is_packed():
    for stage in ("evaluate", "register"):
        reached = fingerprint.reached(fingerprint.SOURCE.parent / f"stages/{stage}.py")
        assert reached > {fingerprint.SOURCE / f"medpipe/{file}.py" for file in ("serving/predictor", "data/images")}


def test_packaging_imports_no_backend():
    program = "import sys, mlflow.pyfunc, medpipe.registry.publish; print({'keras', 'tensorflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


def test_packaging_says_nothing(models, deliver, tmp_path, capsys):
    model, about = models["skin-image"]
    package.save(deliver(tmp_path / "skin-image", model, **about), tmp_path / "package", PIXELS, PLAIN)
    assert capsys.readouterr() == ("", "")


def test_another_limit_flip_temperature_or_model_is_another_package(models, deliver, tmp_path):
    model, about = models["skin-image"]
    one, two = deliver(tmp_path / "one", model, **about), deliver(tmp_path / "two", model, **about)
    variants = [(one, PIXELS, PLAIN), (one, PIXELS + 1, PLAIN), (two, PIXELS, PLAIN)]
    variants += [(one, PIXELS, PLAIN | change) for change in ({"flips": FLIPS}, {"temperature": 2.0})]
    assert package.digest(one, PIXELS, PLAIN) == package.digest(one, PIXELS, dict(PLAIN))
    digests = {package.digest(*variant) for variant in variants}
    assert len(digests) == 5
    ood.write(None, one / ood.FILE)
    assert package.digest(one, PIXELS, PLAIN) not in digests


def test_a_damaged_recipe_is_not_packed(models, deliver, tmp_path):
    model, about = models["skin-image"]
    folder = deliver(tmp_path / "skin-image", model, **about)
    (folder / "recipe.json").write_text("{}")
    with pytest.raises(InputError, match=r"skin-image/recipe.json: damaged .*`dvc checkout --force .*, or train it"):
        package.save(folder, tmp_path / "package", PIXELS, PLAIN)


@pytest.fixture(scope="module")
def early(packages):
    """The packaged fusion, loaded as a service does: no paths."""
    import mlflow

    return mlflow.pyfunc.load_model(str(packages / "skin-early"))


@pytest.fixture
def two(cases):
    """A case of known metadata, and one of unknown."""
    images = [Path(path).read_bytes() for path in cases["image"][:2]]
    return pd.DataFrame({"image": images, "age": [45, None], "sex": ["male", None], "localization": ["back", None]})


@pytest.mark.parametrize("word", [None, np.nan, pd.NA, "", " ", "NA", "unknown", "Unknown"])
@pytest.mark.parametrize("dtype", [object, "category", "string[pyarrow]"])
def test_whatever_stands_for_unknown_gives_the_same(early, two, word, dtype):
    expected = early.predict(two)
    for name in ("age", "sex", "localization"):
        two[name] = pd.Series([two[name][0] if name != "age" else "45", word], dtype=dtype)
    pd.testing.assert_frame_equal(early.predict(two), expected)


def test_a_table_of_empty_fields_is_read_as_one_of_unknown(early, two, tmp_path):
    two.drop(columns="image")[1:].to_csv(tmp_path / "cases.csv", index=False)
    table = pd.read_csv(tmp_path / "cases.csv").assign(image=[two["image"][1]])
    assert table.dtypes[["age", "sex"]].tolist() == [np.float64, np.float64]
    pd.testing.assert_frame_equal(early.predict(table), early.predict(two)[1:].reset_index(drop=True), atol=1e-6)


def test_over_http_a_wrong_row_has_an_error_and_the_others_their_answers(early, two):
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import invocations

    uris = ["data:image/jpeg;base64," + base64.b64encode(data).decode() for data in two["image"]]
    records = two.assign(image=uris).astype(object).where(two.notna(), None).to_dict("records")

    def send(records):
        body = json.dumps({"dataframe_records": records})
        return invocations(body, "application/json", early, early.metadata.get_input_schema())

    answers = pd.DataFrame(json.loads(send(records).response)["predictions"])
    pd.testing.assert_frame_equal(answers, early.predict(two), check_dtype=False, atol=1e-6)
    for change, message in [
        ({"age": "old"}, "age is 'old', must be a number from 0 to 120, or unknown"),
        ({"sex": 3}, "sex is '3', must be unknown or one of: male, female"),
        ({"image": "/dev/zero"}, "image: '/dev/zero' is no data URI, and paths are read only"),
        ({"image": uris[1][:-100]}, "image: damaged"),
    ]:
        sound, wrong = json.loads(send([records[0], records[1] | change]).response)["predictions"]
        assert sound == pytest.approx(answers.iloc[0].to_dict(), abs=1e-6)
        assert wrong.pop("error").startswith(message)
        assert {*wrong.values()} == {None}
    with pytest.raises(MlflowException, match=r"missing inputs \['sex'\]") as raised:
        send([{key: value for key, value in records[0].items() if key != "sex"}])
    assert raised.value.get_http_status_code() == 400
