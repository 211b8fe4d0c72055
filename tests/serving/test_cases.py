"""How raw cases are read, and what is said of those that cannot be."""

import base64
import os
import re
import sys
from io import BytesIO
from pathlib import Path

import keras
import nibabel
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, PLAIN
from keras import layers
from PIL import Image
from small_cases import CASE, FEATURES, TABLE, png

from medpipe.data import features
from medpipe.data.archive import Archive
from medpipe.data.arrays import Arrays
from medpipe.data.images import decode, digest
from medpipe.data.prepare import prepare_images
from medpipe.errors import InputError, Unreadable
from medpipe.models.predict import predict
from medpipe.models.temperature import temper
from medpipe.params import Decoding, Percentiles, PreparedImages
from medpipe.serving.cases import encode
from medpipe.serving.predictor import Predictor


def refused(answer, row):
    """Why a row has no answer; all other rows have one, the same."""
    others = answer.drop(index=row)
    assert (others.drop(columns="error") == others.drop(columns="error").iloc[0]).all(axis=None)
    assert all(error is None for error in others["error"])
    assert all(value is None for value in answer.drop(columns="error").loc[row])
    return answer["error"][row]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("lesion.jpg", "image: 'lesion.jpg' is no data URI, and paths are read only of a model .* image_root"),
        ("/dev/zero", "image: '/dev/zero' is no data URI"),
        (None, "image is missing; give the file's bytes, or data:image/jpeg;base64"),
        (np.nan, "image is missing"),
        (" ", "image is missing"),
        (7, "image is int; give the file's bytes"),
        (b"", "image: empty file"),
        (b"GIF89a", "image: no image"),
        pytest.param(png()[:-30], "image: damaged", id="truncated"),
        pytest.param(png((50, 50)), "image: too many pixels", id="large"),
        ("data:image/png;base64,@@", "image: what follows ';base64,' is no base64: "),
        ("data:image/png;base64,A", "image: what follows ';base64,' is no base64: "),
        ("data:image/png;base64,\xe9", "image: what follows ';base64,' is no base64: "),
        ("data:image/png;base64,", "image: empty file"),
        ("data:image/png;base64,R0lG", "image: no image"),
        ("data:image/png,%89PNG", "image: 'data:image/png' is a data URI without ';base64,'"),
        ("data:", "image: 'data:' is a data URI without ';base64,'"),
    ],
)
def test_an_image_that_cannot_be_read_is_named_by_its_row(reader, image, message):
    answer = reader.predict(pd.DataFrame([{"image": png()} | CASE, {"image": image} | CASE], index=[7, 8]))
    assert re.match(message, refused(answer, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sex": "M"}, "sex is 'M', must be unknown or one of: male, female"),
        ({"localization": "knee"}, "localization is 'knee', must be unknown or one of: back, lower extremity"),
        ({"age": -1}, "age is '-1', must be a number from 0 to 120"),
        ({"age": "old"}, "age is 'old', must be a number"),
        ({"age": [45]}, r"age is '\[45\]', must be a number"),
        ({"age": float("inf")}, "age is 'inf', must be a number"),
        ({"sex": ["male"]}, "sex is .*male.*, must be"),
    ],
)
def test_metadata_that_the_model_cannot_know_is_named_by_its_row(reader, change, message):
    rows = [{"image": png()} | CASE] * 40
    rows[35] = rows[35] | change
    assert re.match(message, refused(reader.predict(pd.DataFrame(rows)), 35))


@pytest.mark.parametrize(
    ("library", "data"), [("pydicom", bytes(128) + b"DICM"), ("nibabel", bytes(344) + b"n+1\0" + bytes(192))]
)
def test_what_reads_a_medical_file_is_named_where_it_is_not_installed(monkeypatch, library, data):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Unreadable, match=rf"a: a (DICOM file|volume): to read it, install {library}$"):
        decode(data, name="a", max_pixels=100, decoding=EIGHT_BIT.model_copy(update={"axis": 2}))


@pytest.mark.parametrize("policy", ["category", "impute"])
def test_metadata_is_encoded_as_for_training(policy):
    cases = pd.DataFrame(
        {
            "age": [0.0, 45.0, np.nan],
            "sex": ["male", "unknown", "female"],
            "localization": ["back", "lower extremity", "unknown"],
        }
    )
    table = pd.concat([cases[["age"]], features.encode(cases, FEATURES, policy)], axis=1)
    np.testing.assert_array_equal(encode(cases, TABLE, list(table))[0], table.to_numpy(np.float32))
    np.testing.assert_array_equal(
        encode(cases.replace("unknown", None), TABLE, list(table))[0], table.to_numpy(np.float32)
    )


def test_categories_may_be_written_in_any_case_and_be_called_none():
    table = {"kind": "table", "features": {"dose": {"values": ["none", "Low", "b", "B"]}}}
    cases = pd.DataFrame({"dose": ["none", "NONE", "low", " LOW ", "b", "B", None, np.nan, "unknown", "n/a"]})
    encoded, wrong = encode(cases, table, [f"dose_{value}" for value in ("none", "Low", "b", "B")])
    assert not wrong
    assert encoded[:6].argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 3]
    assert np.isnan(encoded[6:]).all()


def test_ages_may_be_whole_numbers():
    names = ["age", "sex_male", "sex_female", "localization_back"]
    assert encode(pd.DataFrame([CASE]), TABLE, names)[0].tolist() == [[45, 1, 0, 1]]


def test_base64_may_be_wrapped_and_without_padding(reader):
    data = png((30, 10))
    text = base64.encodebytes(data).decode()
    assert "\n" in text.strip()
    assert text.rstrip().endswith("=")
    uris = [head + body for head in ("data:image/png;base64,", "DATA:;base64,") for body in (text, text.rstrip("=\n"))]
    answer = reader.predict(pd.DataFrame([{"image": image} | CASE for image in [data, *uris]]))
    assert answer["error"].isna().all()
    assert (answer == answer.iloc[0]).drop(columns="error").all(axis=None)


@pytest.fixture
def folder(tmp_path):
    """A folder of images beside one that is none of them."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/lesion.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    return tmp_path / "images"


def test_paths_are_read_under_the_root_that_the_loader_names(delivered, folder):
    rooted = Predictor(delivered, max_pixels=1000, **PLAIN, image_root=str(folder))
    values = [png(), "lesion.png", Path("lesion.png"), str(folder / "lesion.png")]
    answer = rooted.predict(pd.DataFrame([{"image": image} | CASE for image in values]))
    assert answer["error"].isna().all()
    assert (answer == answer.iloc[0]).drop(columns="error").all(axis=None)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.png", "'nowhere.png' is not there under image_root"),
        ("../secret.png", "'../secret.png' lies outside of image_root"),
        ("link.png", "'link.png' lies outside of image_root"),
        ("/dev/zero", "'/dev/zero' lies outside of image_root"),
        ("pipe", "'pipe' is no regular file"),
        (".", "'.' is no regular file"),
        ("large.png", "'large.png' has more than 4000 bytes"),
        ("a\0b.png", r"'a\\x00b.png' cannot be read: embedded null byte"),
        ("loop.png", "'loop.png' cannot be read: "),
        pytest.param("x" * 300, "'x*' cannot be read: File name too long", id="long"),
    ],
)
def test_no_other_file_is_read(delivered, folder, path, message):
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "large.png").write_bytes(bytes(5000))
    os.mkfifo(folder / "pipe")
    rooted = Predictor(delivered, max_pixels=1000, **PLAIN, image_root=str(folder))
    assert re.match(f"image: {message}", rooted.predict(pd.DataFrame([{"image": path} | CASE]))["error"][0])


def test_a_root_that_is_no_folder_is_refused(delivered, tmp_path):
    with pytest.raises(InputError, match="image_root: .*nowhere is no folder"):
        Predictor(delivered, max_pixels=1000, **PLAIN, image_root=str(tmp_path / "nowhere"))


def test_what_a_window_made_of_files_is_served_as_it_was_prepared(deliver, tmp_path):
    """A 16-bit PNG as bytes, and slices of a NIfTI volume by their paths."""
    ramp = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    buffer = BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    volume = nibabel.Nifti1Image(np.stack([ramp, ramp.max() - ramp], axis=2), np.eye(4))
    images = tmp_path / "images"
    images.mkdir()
    (images / "deep.png").write_bytes(buffer.getvalue())
    volume.to_filename(images / "v.nii.gz")
    archive, names = Archive(images), ["deep.png", "v.nii.gz#0", "v.nii.gz#1"]
    table = pd.DataFrame({"id": ["a", "b", "c"], "path": names, "mask_path": "", "mask_sha256": ""})
    table["sha256"] = [digest(archive.read(name), name) for name in names]
    decoding = Decoding(window=Percentiles(percentiles=(5, 95)), frames="refuse", axis=2, context=0, max_voxels=1 << 20)
    variant = PreparedImages(
        task="skin", kind="images", square=True, sizes=(16,), equalise=False, decoding=decoding, mask_values=None
    )
    prepare_images(table, images, variant, tmp_path, 2000)
    arrays = Arrays(tmp_path)
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(
        inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(layers.Rescaling(1 / 255)(inputs)))
    )
    about = {"classes": ("mel", "nv", "df"), "variants": (arrays.variant,), "features": ((),)}
    reader = Predictor(deliver(tmp_path / "skin", model, **about), max_pixels=2000, **PLAIN, image_root=str(images))
    answer = reader.predict(pd.DataFrame({"image": [buffer.getvalue(), *names[1:]]}))
    expected = predict(model, [arrays.inputs], np.arange(3), 3, ())["output"]
    np.testing.assert_allclose(answer[["mel", "nv", "df"]].to_numpy(), temper(expected, 1.0), atol=1e-6)
    assert len(np.unique(expected[:, 0])) == 3
    [error] = reader.predict(pd.DataFrame({"image": ["v.nii.gz"]}))["error"]
    assert error.startswith("image: several images: say which, from #0 to #1")
