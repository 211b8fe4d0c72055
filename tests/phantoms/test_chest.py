import zipfile

import numpy as np
import pandas as pd
import pytest
from imagehash import phash
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from medpipe.params import ChestPhantom
from medpipe.phantoms import chest


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chest")
    chest.write(folder, ChestPhantom(seed=3, images=360, size=96))
    return folder / "COVID-19_Radiography_Dataset"


@pytest.fixture(scope="module")
def rows(archive):
    tables = [
        pd.read_excel(archive / f"{label}.metadata.xlsx", keep_default_na=False).assign(label=label)
        for label in chest.SHARES
    ]
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def images(archive, rows):
    return [
        Image.open(archive / label / "images" / f"{name}.png")
        for label, name in zip(rows["label"], rows["FILE NAME"], strict=True)
    ]


def test_layout(archive, rows, images):
    assert tuple(rows.columns) == (*chest.COLUMNS, "label")
    assert {path.name for path in archive.iterdir()} == {
        *chest.SHARES, *(f"{label}.metadata.xlsx" for label in chest.SHARES),
    }  # fmt: skip
    assert len(list(archive.rglob("*.png"))) == len(rows) == 360
    assert {(image.mode, image.size, image.format) for image in images} == {("L", (96, 96), "PNG")}
    assert set(rows["FORMAT"]) == {"PNG"}
    assert set(rows["SIZE"]) == {"96*96"}


def test_classes_are_imbalanced_and_none_too_rare(rows):
    counts = rows["label"].value_counts()
    assert counts.index.tolist() == ["Normal", "Lung_Opacity", "COVID", "Viral Pneumonia"]
    assert counts.min() >= 40
    assert counts.max() > 3 * counts.min()


def test_source_is_tied_mostly_but_not_wholly_to_the_class(rows):
    sources = rows["URL"].str.extract(r"^https://(.+)$")[0]
    assert 0 < sources.isna().sum() < 0.06 * len(rows)
    assert sources.nunique() == 4
    assert sources.str.split("/").str[0].nunique() == 3  # two share a host
    table = pd.crosstab(rows["label"], sources)
    assert (table.max(axis=1) / table.sum(axis=1)).between(0.5, 0.95).all()
    assert ((table > 0).sum(axis=0) >= 3).all()


def test_no_two_images_are_near_duplicates(images):
    hashes = np.array([phash(image, hash_size=16).hash.ravel() for image in images], float)
    apart = hashes @ (1 - hashes.T) + (1 - hashes) @ hashes.T
    np.fill_diagonal(apart, 256)
    assert apart.min() > 10  # above the 6 bits below which two images count as duplicates


def test_signal(rows, images):
    thumbnails = np.array([np.asarray(image.resize((16, 16), Image.Resampling.BOX)).ravel() for image in images])
    forest = RandomForestClassifier(100, min_samples_leaf=2, random_state=0)
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    guess = cross_val_predict(forest, thumbnails, rows["label"], cv=folds)
    assert 0.55 < f1_score(rows["label"], guess, average="macro") < 0.95
    zero = f1_score(rows["label"], ["Normal"] * len(rows), average="macro")
    assert zero < 0.2


def test_same_bytes_again_and_no_dates(written_twice, tmp_path):
    one, two = written_twice(chest.write, ChestPhantom(seed=4, images=16, size=48))
    assert one == two
    with zipfile.ZipFile(tmp_path / "one" / "COVID-19_Radiography_Dataset" / "COVID.metadata.xlsx") as book:
        assert {entry.date_time for entry in book.infolist()} == {(2020, 1, 1, 0, 0, 0)}
        core = book.read("docProps/core.xml").decode()
    assert core.count("2020-01-01T00:00:00Z") == 2
