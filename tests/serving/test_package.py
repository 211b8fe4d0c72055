"""What a package holds and wants, what tells it from another, and what is refused."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from declared import EIGHT_BIT, PLAIN
from small_packages import CLASSES, FLIPS, IMAGES, PIXELS, TABLE

from medpipe import fingerprint
from medpipe.errors import InputError
from medpipe.models import delivery, ood
from medpipe.serving import code, manifest, package
from medpipe.serving.predictor import _load_pyfunc as load_pyfunc


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
