from io import BytesIO

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import ExifTags, Image

from medpipe.data import features
from medpipe.errors import InputError
from medpipe.serving.predictor import Predictor, encode

IMAGES = {"task": "skin", "kind": "images", "square": False, "sizes": (16,), "equalise": False}
TABLE = {"task": "skin", "kind": "table"}
VOCABULARY = {"sex": ("male", "female"), "localization": ("back", "lower extremity")}
CASE = {"age": 45, "sex": "male", "localization": "back"}


def png(size=(20, 10), value=0):
    buffer = BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def reader(deliver, tmp_path_factory):
    """Of a classifier of images and metadata."""
    image, table = keras.Input((16, 16, 3)), keras.Input((5,))
    joined = layers.Concatenate()([layers.GlobalAveragePooling2D()(image), table])
    model = keras.Model([image, table], layers.Dense(2, activation="softmax")(joined))
    names = ("age", "sex_male", "sex_female", "localization_back", "localization_lower extremity")
    about = {"classes": ("mel", "nv"), "variants": (IMAGES, TABLE), "features": ((), names)}
    return Predictor(
        deliver(tmp_path_factory.mktemp("models") / "skin-early", model, **about), max_pixels=1000, flips=()
    )


@pytest.fixture(scope="module")
def outliner(deliver, tmp_path_factory):
    """Of a segmenter that reads the central square, and outlines what is bright."""
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(inputs))
    model.layers[-1].set_weights([np.ones((3, 1)), np.array([-300.0])])
    about = {"kind": "segmenter", "classes": ("healthy", "tumour"), "variants": (IMAGES | {"square": True},)}
    folder = tmp_path_factory.mktemp("models") / "brain-resunet"
    return Predictor(deliver(folder, model, task="brain", features=((),), **about), max_pixels=1000, flips=())


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
    assert reader.predict(pd.DataFrame({"image": [], "age": [], "sex": [], "localization": []})).empty


def test_missing_columns_are_named(reader):
    with pytest.raises(InputError, match="columns missing: age, localization; the model reads image, age, sex"):
        reader.predict(pd.DataFrame({"image": [png()], "sex": ["male"]}))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.jpg", "row 1, nowhere.jpg: No such file or directory; give a path"),
        (None, "row 1: image is NoneType, must be a path, bytes or a data URI"),
        (b"", "row 1: empty file"),
        (b"GIF89a", "row 1: no image"),
        pytest.param(png()[:-30], "row 1: damaged", id="truncated"),
        pytest.param(png((50, 50)), "row 1: too many pixels", id="large"),
        ("data:image/png;base64,@@", "row 1: image is no base64 data URI"),
        ("data:image/png;base64,R0lG", "row 1: no image"),
    ],
)
def test_an_image_that_cannot_be_read_is_named_by_its_row(reader, image, message):
    with pytest.raises(InputError, match=message):
        reader.predict(pd.DataFrame([{"image": png()} | CASE, {"image": image} | CASE], index=[7, 8]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sex": "M"}, "row 40: sex is 'M', must be unknown or one of: male, female"),
        ({"localization": "knee"}, "row 40: localization is 'knee', must be unknown or one of: back, lower extremity"),
        ({"age": -1}, "row 40: age is .*-1.*, must be years from 0 to 120"),
        ({"age": "old"}, "row 40: age is 'old', must be years"),
    ],
)
def test_metadata_that_the_model_cannot_know_is_named_by_its_row(reader, change, message):
    rows = [{"image": png()} | CASE] * 40 + [{"image": png()} | CASE | change]
    with pytest.raises(InputError, match=message):
        reader.predict(pd.DataFrame(rows))


@pytest.mark.parametrize("policy", ["category", "impute"])
def test_metadata_is_encoded_as_for_training(policy):
    cases = pd.DataFrame(
        {
            "age": [0.0, 45.0, np.nan],
            "sex": ["male", "unknown", "female"],
            "localization": ["back", "lower extremity", "unknown"],
        }
    )
    table = pd.concat([cases[["age"]], features.encode(cases, VOCABULARY, policy)], axis=1)
    np.testing.assert_array_equal(encode(cases, list(table)), table.to_numpy(np.float32))
    np.testing.assert_array_equal(encode(cases.replace("unknown", None), list(table)), table.to_numpy(np.float32))


def test_ages_may_be_whole_numbers():
    names = ["age", "sex_male", "sex_female", "localization_back"]
    assert encode(pd.DataFrame([CASE]), names).tolist() == [[45, 1, 0, 1]]
