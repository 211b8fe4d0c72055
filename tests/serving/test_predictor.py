import shutil
import sys
from io import BytesIO

import keras
import numpy as np
import pandas as pd
import pytest
from declared import PLAIN
from keras import layers
from mlflow.exceptions import MlflowException
from PIL import ExifTags, Image
from small_cases import IMAGES, png

from medpipe.errors import InputError
from medpipe.evaluation.ood import fit
from medpipe.models import delivery, ood
from medpipe.models.embedding import observed
from medpipe.models.export import export
from medpipe.models.predict import predict
from medpipe.serving import package
from medpipe.serving.predictor import Predictor


def test_the_score_is_that_of_evaluate(deliver, tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    embedding = layers.GlobalAveragePooling2D(name="embedding")(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(embedding))
    folder = deliver(tmp_path / "m", model, classes=("mel", "nv"), variants=(IMAGES,), features=((),))
    rows = np.random.default_rng(0).integers(0, 256, (90, 16, 16, 3)).astype(np.uint8)
    seen = predict(observed(model), [rows], np.arange(90), flips=("vertical",))
    detector = fit(seen["embedding"][:40], np.arange(40) % 2, seen["embedding"][40:60])
    ood.write(detector, folder / ood.FILE)
    (folder / delivery.GRAPH).write_bytes(export(observed(model)))
    cases = []
    for pixels in (*rows[60:], np.zeros((16, 16, 3), np.uint8)):
        Image.fromarray(pixels).save(buffer := BytesIO(), "PNG")
        cases.append(buffer.getvalue())
    cases = pd.DataFrame({"image": cases})
    answer = Predictor(folder, 1000, ("vertical",), temperature=1.0, rule=None).predict(cases)
    np.testing.assert_allclose(answer["ood"][:-1], detector.score(seen["embedding"][60:]))
    assert answer["ood"].iloc[-1] == pytest.approx(1 / 21)
    assert package.signature(delivery.read_recipe(folder), False, True).outputs.input_names() == list(answer)


def test_an_answer_that_is_not_a_number_is_the_rows_error(deliver, tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model.layers[-1].set_weights([np.full((3, 2), 3e38), np.zeros(2)])  # infinite but for a black image
    folder = deliver(tmp_path / "m", model, classes=("mel", "nv"), variants=(IMAGES,), features=((),))
    answer = Predictor(folder, max_pixels=1000, **PLAIN).predict(pd.DataFrame({"image": [png(value=0), png(value=9)]}))
    assert answer["error"].tolist() == [None, "the model's answer is not a number"]
    assert answer.loc[1, ["mel", "nv", "label"]].isna().all()
    assert answer["mel"][0] == pytest.approx(0.5)


def test_a_rows_answer_does_not_depend_on_the_rows_beside_it(reader):
    images = [png((20, 10 + i), i) if i % 3 else b"none" for i in range(40)]  # more than a batch
    cases = pd.DataFrame({"image": images, "age": 1, "sex": "male", "localization": "back"})
    alone = [reader.predict(cases[i : i + 1]) for i in range(40)]
    together = reader.predict(cases)
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True), check_exact=True, check_dtype=False)
    assert [error is not None for error in together["error"]] == [i % 3 == 0 for i in range(40)]
    assert together["mel"].nunique() > 10


@pytest.fixture(scope="module")
def outliner(deliver, tmp_path_factory):
    """Of a segmenter that reads the central square, and outlines what is bright."""
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(inputs))
    model.layers[-1].set_weights([np.ones((3, 1)), np.array([-300.0])])
    about = {"kind": "segmenter", "classes": ("healthy", "tumour"), "variants": (IMAGES | {"square": True},)}
    folder = tmp_path_factory.mktemp("models") / "brain-resunet"
    return Predictor(deliver(folder, model, task="brain", features=((),), **about), max_pixels=1000, **PLAIN)


def test_an_image_is_turned_as_it_is_tagged(outliner):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the stored left side is shown on top
    image, buffer = Image.new("L", (16, 8)), BytesIO()
    image.paste(255, (0, 0, 8, 8))
    image.save(buffer, "JPEG", exif=exif)
    [mask] = outliner.predict(pd.DataFrame({"image": [buffer.getvalue()]}))["mask"]
    mask = np.asarray(Image.open(BytesIO(mask)))
    assert mask.shape == (16, 8)
    assert (mask[4:8] == 255).all()  # of the square in the middle the upper half
    assert not mask[8:].any()


def test_a_square_models_mask_leaves_out_what_it_did_not_see(outliner):
    answer = outliner.predict(pd.DataFrame({"image": [png(value=255), png(value=0)]}))
    assert answer["tumour"].tolist() == [True, False]
    assert answer["share"].tolist() == [1.0, 0.0]
    bright, dark = (np.asarray(Image.open(BytesIO(mask))) for mask in answer["mask"])
    assert bright.shape == dark.shape == (10, 20)
    assert (bright[:, 5:15] == 255).all()
    assert not bright[:, :5].any()
    assert not bright[:, 15:].any()
    assert not dark.any()


def test_no_case_no_answer(reader):
    answer = reader.predict(pd.DataFrame({"image": [], "age": [], "sex": [], "localization": []}))
    assert (list(answer), len(answer)) == (["mel", "nv", "label", "error"], 0)


def test_missing_columns_are_named(reader):
    with pytest.raises(MlflowException, match="columns missing: age, localization; the model reads image, age, sex"):
        reader.predict(pd.DataFrame({"image": [png()], "sex": ["male"]}))


def test_missing_columns_are_named_without_mlflow(reader, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)  # as where it is not installed
    with pytest.raises(InputError, match="columns missing: age, localization; the model reads image, age, sex"):
        reader.predict(pd.DataFrame({"image": [png()], "sex": ["male"]}))


def test_all_that_is_wrong_with_a_row_is_told(reader):
    answer = reader.predict(pd.DataFrame([{"image": b"", "age": 500, "sex": "x", "localization": "back"}] * 2))
    assert answer[["mel", "nv", "label"]].isna().all(axis=None)
    assert answer["error"][1] == (
        "age is '500', must be a number from 0 to 120, or unknown; "
        "sex is 'x', must be unknown or one of: male, female; image: empty file"
    )


def test_a_masks_row_that_is_wrong_leaves_the_others_their_types(outliner):
    answer = outliner.predict(pd.DataFrame({"image": [png(value=255), b"", png(value=0)]}))
    assert answer["tumour"].tolist() == [True, None, False]
    assert [type(mask) for mask in answer["mask"]] == [bytes, type(None), bytes]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.onnx", b""),
        ("model.onnx", b"PK\x03\x04"),
        ("model.onnx", None),
        ("recipe.json", b"{"),
        ("recipe.json", b"{}"),
        ("recipe.json", b"[]"),
        ("recipe.json", b"\xff"),
    ],
)
def test_a_damaged_file_is_named_with_the_way_out(delivered, tmp_path, file, content):
    shutil.copytree(delivered, tmp_path / "model")
    whole = (tmp_path / "model" / file).read_bytes()
    (tmp_path / "model" / file).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match=rf"model/{file}: damaged or of another version \(.*; get it again"):
        Predictor(tmp_path / "model", max_pixels=1000, **PLAIN)
