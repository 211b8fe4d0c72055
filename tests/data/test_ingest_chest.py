from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from declared import TASKS, evaluate_settings, ingest_archive

from medpipe.data.clean import clean
from medpipe.data.readers.radiography import source_of
from medpipe.data.split import split
from medpipe.data.vocabulary import COLUMNS
from medpipe.errors import InputError
from medpipe.evaluation.report import classification_report
from medpipe.evaluation.tables import of_classes
from medpipe.params import Clean, Split

CLASSES = TASKS["chest"].classes

TOP = "COVID-19_Radiography_Dataset"
IDS = [f"{name}-{n}" for name in CLASSES for n in (1, 2)]
SECOND = "COVID-2"


def path_of(name):
    label = name.rsplit("-", 1)[0]
    return f"{TOP}/{label}/images/{name}.png"


@pytest.fixture
def files(encode, noise):
    return {path_of(name): encode(noise(i, "L")) for i, name in enumerate(IDS)} | {f"{TOP}/README.md.txt": b"x"}


def workbook(names, urls, last="URL"):
    buffer = BytesIO()
    table = {"FILE NAME": names, "FORMAT": "PNG", "SIZE": "256*256", last: urls}
    pd.DataFrame(table).to_excel(buffer, index=False)
    return buffer.getvalue()


@pytest.fixture
def ingest(folder, settings):
    def run(files):
        manifest, quarantine, _ = ingest_archive(folder(files), "chest", settings)
        return manifest, quarantine.to_numpy().tolist()

    return run


def test_the_manifest_says_what_the_folders_say(ingest, files):
    manifest, quarantine = ingest(files)
    assert quarantine == []
    assert list(manifest) == [*COLUMNS, "url"]
    assert manifest["id"].tolist() == manifest["group"].tolist() == sorted(IDS)
    assert manifest["label"].tolist() == [name.rsplit("-", 1)[0] for name in manifest["id"]]
    assert manifest["path"].tolist() == [path_of(name) for name in manifest["id"]]
    assert set(manifest["source"]) == {"unknown"}
    assert set(manifest["url"]) == {""}


def test_every_layout_gives_the_same_manifest(folder, zipped, settings, files):
    wanted, _, _ = ingest_archive(folder(files), "chest", settings)
    older = {name.replace("/images/", "/"): data for name, data in files.items()}
    masks = {name.replace("/images/", "/masks/"): b"x" for name in files}
    for path in (
        zipped(files),
        folder(older, "older"),
        folder({name.removeprefix(f"{TOP}/"): data for name, data in files.items()}, "inside"),
        zipped(files | masks, "masks.zip"),
        folder(files | {f"{TOP}/{name}": data for name, data in files.items()}, "twice"),
    ):
        manifest, quarantine, _ = ingest_archive(path, "chest", settings)
        assert quarantine.empty
        pd.testing.assert_frame_equal(manifest.drop(columns="path"), wanted.drop(columns="path"))


def test_the_workbook_names_the_source(ingest, files):
    books = {
        f"{TOP}/COVID.metadata.xlsx": workbook(IDS[:2], ["https://sirm.org/category/x/", "not an address"]),
        f"{TOP}/Normal.metadata.xlsx": workbook(["NORMAL-1", "NORMAL-2"], ["https://www.kaggle.com/c/x", None]),
    }
    manifest, quarantine = ingest(files | books)
    assert quarantine == []
    sources = dict(zip(manifest["id"], manifest["source"], strict=True))
    known = {"COVID-1": "sirm.org/category/x", "Normal-1": "kaggle.com/x"}
    assert sources == {name: known.get(name, "unknown") for name in IDS}
    assert manifest.set_index("id").at["COVID-1", "url"] == "https://sirm.org/category/x/"


def test_data_sets_of_one_host_stay_apart_up_to_the_report(ingest, encode, noise):
    """Two of kaggle.com in one class, two repositories of github.com in the other."""
    hosts = {"COVID": "https://github.com/{}/covid/tree/master", "Normal": "https://www.kaggle.com/datasets/{}/x-rays"}
    files = {}
    for seed, (label, url) in enumerate(hosts.items()):
        names = [f"{label}-{i}" for i in range(20)]
        files |= {path_of(name): encode(noise(20 * seed + i, "L")) for i, name in enumerate(names)}
        files[f"{TOP}/{label}.metadata.xlsx"] = workbook(names, [url.format("one"), url.format("two")] * 10)
    manifest, quarantine = ingest(files)
    assert quarantine == []
    shares = Split(seed=42, by="group", near=4, train=0.4, val=0.2, test=0.4)
    rows, _, _ = split(clean(manifest, TASKS["chest"], Clean(unknown=None)), TASKS["chest"], shares)

    classes, labels = tuple(hosts), rows["label"].tolist()
    right = np.eye(2)[[classes.index(label) for label in labels]]
    p = np.where((rows["source"] == "github.com/two/covid").to_numpy()[:, None], 1 - right, right)
    settings = evaluate_settings(20)
    table = of_classes(rows, labels, classes, p, 1.0)
    _, report = classification_report("m", table, classes, {"COVID": 8}, None, settings, 1)
    found = report["sets"]["test"]["subgroups"]["source"]["values"]
    assert {name: group["overall"]["accuracy"]["value"] for name, group in found.items()} == {
        "github.com/one/covid": 1, "github.com/two/covid": 0, "kaggle.com/one/x-rays": 1, "kaggle.com/two/x-rays": 1,
    }  # fmt: skip
    tested = rows[rows["set"] == "test"]
    assert {name: group["rows"] for name, group in found.items()} == tested["source"].value_counts().to_dict()


def test_defects_of_the_workbook(ingest, files):
    name = f"{TOP}/COVID.metadata.xlsx"
    book = workbook(["COVID-1", "COVID-9"], ["http://a", "http://a"])
    assert ingest(files | {name: book})[1] == [
        ["COVID-2", path_of("COVID-2"), "image without row"], ["COVID-9", "", "row without image"],
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"COVID\.metadata\.xlsx: no readable workbook"):
        ingest(files | {name: book[:200]})
    with pytest.raises(InputError, match=r"lacks the column URL; it has FILE NAME, FORMAT, SIZE, LINK"):
        ingest(files | {name: workbook(["COVID-1"], ["http://a"], last="LINK")})
    with pytest.raises(InputError, match="'COVID-1' stands twice, with two URLs"):
        ingest(files | {name: workbook(["COVID-1", "COVID-1"], ["http://a", "http://b"])})


@pytest.mark.parametrize("place", ["Tuberculosis/images/T-1.png", "covid/images/a.png", "a.png", "images/a.png"])
def test_a_folder_of_no_class_is_refused(ingest, files, place):
    with pytest.raises(InputError, match=rf"{place}' lies in no folder of a class; rename it .*Viral Pneumonia"):
        ingest(files | {f"{TOP}/{place}": b"x"})


def test_damaged_images(ingest, files, damaged_images):
    for reason, data in damaged_images.items():
        manifest, [row] = ingest(files | {path_of(SECOND): data})
        assert len(manifest) == 7
        assert row[:2] == [SECOND, path_of(SECOND)]
        assert row[2].startswith(reason)


def test_an_id_in_two_classes_or_twice_in_one(ingest, files, encode, noise):
    other = f"{TOP}/Normal/images/{SECOND}.png"
    assert ingest(files | {other: files[path_of(SECOND)]})[1] == [
        [SECOND, path, "duplicate id: in two classes"] for path in (path_of(SECOND), other)
    ]


def test_an_id_twice_in_one_class(ingest, files, encode, noise):
    jpeg = path_of(SECOND).replace(".png", ".jpg")
    assert ingest(files | {jpeg: encode(noise(3), "JPEG")})[1] == [
        [SECOND, path, "duplicate id: files that differ"] for path in (jpeg, path_of(SECOND))
    ]


def test_a_copy_in_another_class_condemns_both(ingest, files):
    manifest, quarantine = ingest(files | {path_of("Normal-1"): files[path_of(SECOND)]})
    reason = "duplicated with another label: COVID-2 COVID, Normal-1 Normal"
    assert quarantine == [["COVID-2", path_of("COVID-2"), reason], ["Normal-1", path_of("Normal-1"), reason]]
    assert len(manifest) == 6
    # of one class: two images, as far as anyone knows two people's; split keeps them on one side
    manifest, quarantine = ingest(files | {path_of("COVID-1"): files[path_of(SECOND)]})
    assert (len(manifest), quarantine) == (8, [])


def test_no_images(ingest):
    with pytest.raises(InputError, match="holds no images; it must hold <class>/images"):
        ingest({f"{TOP}/README.md.txt": b"x"})


def test_the_real_archive(real, real_settings):
    manifest, quarantine, _ = ingest_archive(real / "covid_radiography", "chest", real_settings)
    assert quarantine.empty
    assert manifest["label"].value_counts().to_dict() == {"COVID": 330, "Normal": 330, "Viral Pneumonia": 240}


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://www.kaggle.com/datasets/owner/one", "kaggle.com/owner/one"),
        ("https://www.kaggle.com/owner/Two/data", "kaggle.com/owner/two"),
        ("https://github.com/armiro/COVID-CXNet", "github.com/armiro/covid-cxnet"),
        ("https://github.com/ml-workgroup/covid-19-image-repository/tree/master/png", None),
        ("https://sirm.org/category/senza-categoria/covid-19/", "sirm.org/category/senza-categoria"),
        ("", "unknown"),
        ("not an address", "unknown"),
    ],
)
def test_a_source_is_the_host_and_what_tells_its_data_sets_apart(url, source):
    found = source_of(url)
    assert found == (source or "github.com/ml-workgroup/covid-19-image-repository")
