import re
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from declared import TASKS
from imagehash import phash
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medpipe.data import features
from medpipe.models.build import build
from medpipe.models.predict import predict
from medpipe.params import SkinPhantom, load
from medpipe.phantoms import skin
from medpipe.training.batches import Samples
from medpipe.training.fit import fit

CLASSES = {"akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skin")
    skin.write(folder, SkinPhantom(seed=1, lesions=420, external=20))
    return folder


@pytest.fixture(scope="module")
def rows(archive):
    return pd.read_csv(archive / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def images(archive):
    """Each image of the main table, as small as the smallest that any model reads."""
    paths = sorted(archive.glob("HAM10000_images_part_?/*.jpg"))
    return {path.stem: Image.open(path).convert("RGB").resize((64, 48)) for path in paths}


def test_layout(archive, rows, images):
    assert tuple(rows.columns) == skin.COLUMNS
    assert rows["image_id"].is_unique
    assert set(rows["image_id"]) == set(images)
    assert all(re.fullmatch(r"HAM_\d{7}", name) for name in rows["lesion_id"])
    for part in (1, 2):
        folder = archive / f"HAM10000_images_part_{part}"
        assert len(list(folder.iterdir())) == pytest.approx(len(rows) / 2, abs=1)
        with Image.open(next(folder.iterdir())) as image:
            assert (image.size, image.mode, image.format) == ((600, 450), "RGB", "JPEG")


def test_external_test_set(archive, images):
    truth = pd.read_csv(archive / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv")
    assert tuple(truth.columns) == skin.EXTERNAL_COLUMNS
    assert (truth.iloc[:, 1:].sum(axis=1) == 1).all()
    assert (truth.iloc[:, 1:].sum() >= 1).all()
    stems = {path.stem for path in (archive / "ISIC2018_Task3_Test_Input").glob("*.jpg")}
    assert stems == set(truth["image"])
    assert not stems & set(images)


def test_classes_are_imbalanced_and_none_too_rare(rows):
    counts = rows.drop_duplicates("lesion_id")["dx"].value_counts()
    assert set(counts.index) == CLASSES
    assert counts.sum() == 420
    assert counts.min() >= 40
    assert counts["nv"] > 2 * counts.min()


def test_repeat_photographs(rows, images):
    """A quarter of the lesions, 2 to 4 photographs each, that differ as much as a new picture does."""
    counts = rows["lesion_id"].value_counts()
    assert (counts > 1).mean() == pytest.approx(0.25, abs=0.01)
    assert counts.max() == 4
    assert (rows.groupby("lesion_id")[["dx", "dx_type", "age", "sex", "localization"]].nunique() == 1).all(axis=None)
    hashes = np.array([phash(images[i], hash_size=16).hash.ravel() for i in rows["image_id"]], float)
    apart = hashes @ (1 - hashes.T) + (1 - hashes) @ hashes.T
    np.fill_diagonal(apart, 256)
    assert apart.min() > 12  # well above the 6 bits below which two images count as duplicates


def test_missing_values_and_vocabularies(rows):
    assert (rows["age"] == "").sum() >= 3
    assert (rows["age"] == "0.0").any()
    ages = pd.to_numeric(rows["age"]).dropna()
    assert (ages % 5 == 0).all()
    assert ages.between(0, 85).all()
    assert set(rows["sex"]) == {"male", "female", "unknown"}
    assert (rows["localization"] == "unknown").sum() > (rows["sex"] == "unknown").sum() / 2
    assert set(rows["localization"]) <= {*skin.ANYWHERE, "unknown"}
    assert set(rows["dx_type"]) == {"histo", "follow_up", "consensus", "confocal"}


def test_same_bytes_again_and_others_for_another_seed(written_twice, tmp_path):
    settings = SkinPhantom(seed=5, lesions=30, external=7)
    one, two = written_twice(skin.write, settings)
    assert one == two
    (tmp_path / "other").mkdir()
    skin.write(tmp_path / "other", settings.model_copy(update={"seed": 6}))
    assert (tmp_path / "other" / "HAM10000_metadata.csv").read_bytes() != one["HAM10000_metadata.csv"]


def test_no_external_set_where_none_is_asked_for(tmp_path):
    skin.write(tmp_path, SkinPhantom(seed=5, lesions=14, external=0))
    assert {path.name for path in tmp_path.iterdir()} == {
        "HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_metadata.csv",
    }  # fmt: skip


def test_signal_is_partly_in_the_image_and_partly_in_the_metadata(rows, images):
    """Each part beats the commonest class by far, both beat each by far, and none is near perfect."""
    pixels = np.array([_colours(images[i]) for i in rows["image_id"]])
    age = pd.to_numeric(rows["age"])
    table = np.c_[age.fillna(age.median()), pd.get_dummies(rows[["sex", "localization"]])].astype(float)
    classes = rows["dx"].to_numpy()

    def macro_f1(features):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000, class_weight="balanced"))
        folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
        guess = cross_val_predict(model, features, classes, groups=rows["lesion_id"], cv=folds)
        return f1_score(classes, guess, average="macro")

    zero = f1_score(classes, np.full(len(classes), "nv"), average="macro")
    image, metadata, both = macro_f1(pixels), macro_f1(table), macro_f1(np.c_[pixels, table])
    assert zero < 0.15
    assert 0.45 < image < 0.8
    assert 0.35 < metadata < 0.65
    assert max(image, metadata) + 0.07 < both < 0.92


def test_metadata_alone_beat_the_commonest_class_at_the_full_recipe(tmp_path):
    """At HAM10000's number of lesions: ten epochs of SGD are few steps, and of fewer rows too few."""
    recipe = load(Path(__file__).parents[2]).models["skin-tabular"]
    classes = TASKS["skin"].classes
    keras.utils.set_random_seed(1)
    lesions = skin._lesions(np.random.default_rng(1), 7470)
    table = pd.DataFrame([lesion for lesion in lesions for _ in range(lesion.photographs)])
    table["age"] = pd.to_numeric(table["age"])
    encoded = features.encode(table, TASKS["skin"].features, "category").assign(age=table["age"])
    part = np.random.default_rng(2).choice(3, len(lesions), p=(0.7, 0.15, 0.15))
    part = np.repeat(part, [lesion.photographs for lesion in lesions])
    trained = encoded.assign(sex=table["sex"], localization=table["localization"])[part == 0]
    stats = features.fit(trained, TASKS["skin"].features)
    inputs = encoded[stats["columns"]].to_numpy(np.float32)
    truth = np.array([classes.index(dx) for dx in table["dx"]])
    targets = np.eye(len(classes), dtype=np.float32)[truth]
    model = build(recipe, inputs.shape[1:], len(classes), stats)
    train, val, test = (np.flatnonzero(part == number) for number in range(3))
    sets = (Samples(inputs, targets, rows) for rows in (train, val))
    fit(model, *sets, recipe, seed=1, checkpoint=tmp_path / "state.npz", on_epoch=lambda epoch, numbers: None)

    def macro_f1(guess):
        return f1_score(truth[test], guess, average="macro", zero_division=0)

    guess = predict(model, [inputs], test, batch=1024)["output"].argmax(axis=1)
    assert macro_f1(guess) > 2 * macro_f1(np.full(len(test), classes.index("nv")))


def _colours(image):
    """Means, deviations and quantiles of the whole and the middle, and a thumbnail: (141,)."""
    whole = np.asarray(image.resize((28, 28)), float) / 255
    parts = [whole.reshape(-1, 3), whole[7:21, 7:21].reshape(-1, 3)]
    quantiles = np.quantile(parts[0], [0.02, 0.1, 0.5, 0.9, 0.98], axis=0).ravel()
    thumbnail = np.asarray(image.resize((6, 6), Image.Resampling.BOX), float).ravel() / 255
    return np.concatenate([*(f(part, 0) for part in parts for f in (np.mean, np.std)), quantiles, thumbnail])
