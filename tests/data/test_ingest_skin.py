import hashlib

import imagehash
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, TASKS, ingest_archive

from medpipe.data.archive import Archive
from medpipe.data.clean import clean
from medpipe.data.images import decode
from medpipe.data.ingest import FEW, Ingested, QuarantineError, summary
from medpipe.data.vocabulary import COLUMNS
from medpipe.errors import InputError
from medpipe.params import Clean

CLASSES = TASKS["skin"].classes

CSV = "HAM10000_metadata.csv"
TRUTH = "ISIC2018_Task3_Test_GroundTruth.csv"
HOT = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]


@pytest.fixture
def rows():
    """Eight rows, seven lesions, one a class."""
    table = pd.DataFrame(
        {"lesion_id": [f"HAM_{i:07d}" for i in range(8)], "image_id": [f"ISIC_{i:07d}" for i in range(8)]}
        | {"dx": [*CLASSES, "nv"], "dx_type": "histo", "age": "50.0", "sex": "male", "localization": "back"}
    )
    table.loc[7, "lesion_id"] = table.loc[5, "lesion_id"]
    table.loc[2, ["age", "sex", "localization", "dx_type"]] = ["", "", "unknown", "consensus"]
    return table


@pytest.fixture
def pictures(rows, encode, noise):
    part = "HAM10000_images_part_{}/{}.jpg"
    return {part.format(1 + i // 4, name): encode(noise(i), "JPEG") for i, name in enumerate(rows["image_id"])}


def path_of(name):
    return f"HAM10000_images_part_{1 + int(name[-1]) // 4}/{name}.jpg"


@pytest.fixture
def ingest(folder, settings):
    def run(files, **changes):
        return ingest_archive(folder(files), "skin", settings.model_copy(update=changes))[:2]

    return run


def csv(rows, **options):
    return rows.to_csv(index=False, **options)


def test_the_manifest_says_what_the_files_and_rows_say(ingest, rows, pictures):
    manifest, quarantine = ingest({CSV: csv(rows.iloc[::-1])} | pictures)
    assert quarantine.empty
    assert list(quarantine) == ["id", "path", "reason"]
    assert list(manifest) == [*COLUMNS, "dx_type", "age", "sex", "localization"]
    assert manifest["id"].tolist() == rows["image_id"].tolist()
    assert manifest["label"].tolist() == rows["dx"].tolist()
    assert manifest["group"].tolist() == rows["lesion_id"].tolist()
    assert set(manifest["source"]) == {"ham10000"}
    first = manifest.iloc[0]
    data = pictures[first["path"]]
    assert (first["width"], first["height"], first["bytes"]) == (24, 18, len(data))
    assert first["sha256"] == hashlib.sha256(data).hexdigest()
    image = decode(data, name="", max_pixels=999, decoding=EIGHT_BIT)
    assert first["phash"][:64] == str(imagehash.phash(image, hash_size=16))
    assert len(first["phash"]) == 8 * 64
    assert np.isnan(manifest.loc[2, "age"])
    assert manifest.loc[2, ["sex", "localization", "dx_type"]].tolist() == ["unknown", "unknown", "consensus"]
    assert manifest.loc[0, "age"] == 50


def test_every_layout_gives_the_same_manifest(folder, zipped, settings, rows, pictures):
    plain = {CSV: csv(rows)} | pictures
    wanted, _, _ = ingest_archive(folder(plain), "skin", settings)

    def same(path, keys=("path",)):
        manifest, quarantine, _ = ingest_archive(path, "skin", settings)
        assert quarantine.empty
        pd.testing.assert_frame_equal(manifest.drop(columns=list(keys)), wanted.drop(columns=list(keys)))
        return manifest

    same(zipped(plain), keys=())
    below = same(zipped({f"some/top/{name}": data for name, data in plain.items()}, "below.zip"))
    assert below.loc[0, "path"] == "some/top/HAM10000_images_part_1/ISIC_0000000.jpg"
    # Dataverse: a tab-separated table beside zips, one of outlines
    dataverse = folder({"HAM10000_metadata.tab": csv(rows, sep="\t", quoting=1)}, "dataverse")
    for part in (1, 2):
        inner = {name.split("/")[1]: data for name, data in pictures.items() if f"part_{part}" in name}
        zipped(inner, f"dataverse/HAM10000_images_part_{part}.zip")
    zipped({"x/ISIC_0000000_segmentation.png": b"x"}, "dataverse/HAM10000_segmentations_lesion_tschandl.zip")
    assert same(dataverse).loc[7, "path"] == "HAM10000_images_part_2.zip!/ISIC_0000007.jpg"
    # Kaggle: each folder twice
    twice = {name.replace("HAM10000_images", "ham10000_images"): data for name, data in pictures.items()}
    same(folder(plain | twice, "kaggle"))


def pixel_table(rows, codes=None):
    pixels = np.random.default_rng(5).integers(0, 256, (len(rows), 2352))
    table = pd.DataFrame(pixels, columns=[f"pixel{i:04d}" for i in range(2352)])
    return table.assign(label=rows["dx"].map({name: i for i, name in enumerate(CLASSES)}) if codes is None else codes)


def test_the_pixel_table_in_place_of_images(ingest, folder, rows):
    table = pixel_table(rows)
    files = {CSV: csv(rows), "hmnist_28_28_RGB.csv": csv(table), "hmnist_8_8_L.csv": "x"}
    manifest, quarantine = ingest(files)
    assert quarantine.empty
    assert manifest["path"].tolist() == [f"hmnist_28_28_RGB.csv#{i}" for i in range(8)]
    assert set(manifest["width"]) == set(manifest["height"]) == {28}
    image = decode(Archive(folder(files)).read(manifest.loc[3, "path"]), name="", max_pixels=784, decoding=EIGHT_BIT)
    np.testing.assert_array_equal(np.asarray(image).ravel(), table.iloc[3, :-1])

    table.iloc[4, 0] = 256
    manifest, quarantine = ingest(files | {"hmnist_28_28_RGB.csv": csv(table)})
    assert quarantine.to_numpy().tolist() == [
        ["ISIC_0000004", "hmnist_28_28_RGB.csv#4", "pixel values: 2352 whole numbers from 0 to 255 wanted"]
    ]


def test_images_are_preferred_to_the_pixel_table(ingest, rows, pictures):
    manifest, _ = ingest({CSV: csv(rows), "hmnist_28_28_RGB.csv": "whatever"} | pictures)
    assert manifest["path"].tolist() == [path_of(name) for name in manifest["id"]]


def test_a_pixel_table_of_another_release_is_refused(ingest, rows):
    with pytest.raises(InputError, match=r"hmnist_28_28_RGB\.csv: 7 rows, but HAM10000_metadata\.csv has 8"):
        ingest({CSV: csv(rows), "hmnist_28_28_RGB.csv": csv(pixel_table(rows)[:7])})
    shuffled = pixel_table(rows, codes=[0, 1, 2, 3, 4, 5, 6, 0])
    with pytest.raises(InputError, match=r"code '0' stands for several .* in the metadata's order"):
        ingest({CSV: csv(rows), "hmnist_28_28_RGB.csv": csv(shuffled)})


@pytest.fixture
def test_set(encode, noise):
    table = pd.DataFrame(np.eye(7)[[1, 0, 6]], columns=HOT)
    table.insert(0, "image", [f"ISIC_1{i:06d}" for i in range(3)])
    images = {f"ISIC2018_Task3_Test_Input/ISIC_1{i:06d}.jpg": encode(noise(50 + i), "JPEG") for i in range(3)}
    return table, images


@pytest.mark.parametrize("place", ["ISIC2018_Task3_Test_Input", "ISIC2018_Task3_Test_Images"])
def test_the_external_test_set(ingest, rows, pictures, test_set, place):
    truth, images = test_set
    images = {name.replace("ISIC2018_Task3_Test_Input", place): data for name, data in images.items()}
    manifest, quarantine = ingest({CSV: csv(rows), TRUTH: csv(truth)} | pictures | images)
    assert quarantine.empty
    external = manifest[manifest["source"] == "isic2018"]
    assert external["label"].tolist() == ["nv", "mel", "vasc"]
    assert external["group"].tolist() == external["id"].tolist() == truth["image"].tolist()
    assert set(external[["dx_type", "sex", "localization"]].to_numpy().ravel()) == {"unknown"}
    assert external["age"].isna().all()
    assert (manifest["source"] == "ham10000").sum() == 8


def test_dataverse_s_test_set_has_metadata(ingest, rows, pictures, test_set):
    truth = rows[:3].assign(image_id=test_set[0]["image"], lesion_id=["T1", "T2", "T2"])
    manifest, quarantine = ingest({CSV: csv(rows), TRUTH: csv(truth)} | pictures | test_set[1])
    assert quarantine.empty
    assert manifest[manifest["source"] == "isic2018"]["group"].tolist() == ["T1", "T2", "T2"]


def test_defects_of_the_test_set(ingest, rows, pictures, test_set):
    truth, images = test_set
    none, two, both = truth.copy(), truth.copy(), truth.copy()
    none.loc[0, "NV"] = 0
    two.loc[1, "NV"] = 1
    both.loc[2, "image"] = "ISIC_0000003"
    for table, id_ in ((none, "ISIC_1000000"), (two, "ISIC_1000001")):
        _, quarantine = ingest({CSV: csv(rows), TRUTH: csv(table)} | pictures | images)
        assert quarantine[["id", "reason"]].to_numpy().tolist() == [
            [id_, "one-hot row: exactly one 1 among the classes wanted"]
        ]
    with pytest.raises(InputError, match=r"lacks the column MEL; it has image, NV"):
        ingest({CSV: csv(rows), TRUTH: csv(truth.drop(columns="MEL"))} | pictures | images)
    with pytest.raises(InputError, match="test set's images without ISIC2018_Task3_Test_GroundTruth"):
        ingest({CSV: csv(rows)} | pictures | images)
    images["ISIC2018_Task3_Test_Input/ISIC_0000003.jpg"] = images.pop("ISIC2018_Task3_Test_Input/ISIC_1000002.jpg")
    _, quarantine = ingest({CSV: csv(rows), TRUTH: csv(both)} | pictures | images)
    assert quarantine["id"].tolist() == ["ISIC_0000003"] * 2
    assert set(quarantine["reason"]) == {"duplicate id: both in HAM10000 and in the test set"}


def test_damaged_images_go_to_quarantine_with_the_reason(ingest, rows, pictures, damaged_images):
    for reason, data in damaged_images.items():
        manifest, quarantine = ingest({CSV: csv(rows)} | pictures | {path_of("ISIC_0000003"): data})
        assert manifest["id"].tolist() == [i for i in rows["image_id"] if i != "ISIC_0000003"]
        [row] = quarantine.to_numpy().tolist()
        assert row[:2] == ["ISIC_0000003", path_of("ISIC_0000003")]
        assert row[2].startswith(reason)


def test_a_file_larger_than_any_image_is_not_read_whole(ingest, rows, pictures):
    _, quarantine = ingest({CSV: csv(rows)} | pictures | {path_of("ISIC_0000003"): b"\0" * 40_001})
    assert quarantine["reason"].tolist() == ["too large: more than 40000 bytes"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("dx", "scc", "unknown class: 'scc'"),
        ("dx", "", "unknown class: ''"),
        ("age", "old", "age: 'old'"),
        ("age", "-1", "age: '-1'"),
        ("age", "500", "age: '500'"),
        ("sex", "m", "unknown sex: 'm'"),
        ("localization", "elbow", "unknown localization: 'elbow'"),
        ("lesion_id", "", "no group: nothing names its patient or lesion, as something does of others"),
        ("image_id", "ISIC_9999999", "row without image"),
    ],
)
def test_a_row_that_cannot_be_used(ingest, rows, pictures, column, value, reason):
    rows.loc[3, column] = value
    manifest, quarantine = ingest({CSV: csv(rows)} | pictures)
    assert "ISIC_0000003" not in set(manifest["id"])
    assert quarantine[["id", "reason"]].to_numpy().tolist()[-1] == [rows.loc[3, "image_id"], reason]
    if column == "image_id":
        assert quarantine.iloc[0].tolist() == ["ISIC_0000003", path_of("ISIC_0000003"), "image without row"]


@pytest.mark.parametrize("last", ["60", "", "60.5"])
def test_whole_ages_are_of_one_type_whether_one_is_missing_or_not(ingest, rows, pictures, last):
    rows["age"] = "45"
    rows.loc[3, "age"] = last
    manifest, _ = ingest({CSV: csv(rows)} | pictures)
    assert manifest["age"].dtype == float
    cleaned = clean(manifest, TASKS["skin"], Clean(unknown="category"))
    assert cleaned.loc[3, "age"] == pytest.approx(float(last or "nan"), nan_ok=True)


def test_an_age_of_zero_is_an_age(ingest, rows, pictures):
    rows.loc[3, "age"] = "0.0"
    manifest, _ = ingest({CSV: csv(rows)} | pictures)
    assert manifest.loc[3, "age"] == 0


def test_a_table_of_the_training_half_beside_photographs_of_both_is_no_fault(ingest, rows, pictures):
    half = rows[: len(rows) // 2]
    manifest, quarantine = ingest({CSV: csv(half)} | pictures, max_quarantined=0)
    assert set(manifest["id"]) == set(half["image_id"])
    left = sorted(set(rows["image_id"]) - set(half["image_id"]))
    assert quarantine["id"].tolist() == left
    assert summary(Ingested(manifest, quarantine, ())) == [
        f"{len(half)} images, 0 in quarantine",
        f"{len(left)} images that no row names are left out, such as {path_of(left[0])}",
    ]


def test_an_image_without_row_and_a_duplicate_id(ingest, rows, pictures):
    def reasons(table, files):
        return ingest({CSV: csv(table)} | files)[1][["id", "reason"]].to_numpy().tolist()

    assert reasons(rows.drop(index=3), pictures) == [["ISIC_0000003", "image without row"]]
    assert reasons(pd.concat([rows, rows[3:4]]), pictures) == [["ISIC_0000003", "duplicate id: the row again"]]
    other = rows[3:4].assign(dx="nv")
    assert reasons(pd.concat([rows, other]), pictures) == [["ISIC_0000003", "duplicate id: rows that differ"]] * 2
    copy = {"HAM10000_images_part_2/ISIC_0000003.jpg": pictures[path_of("ISIC_0000004")]}
    assert reasons(rows, pictures | copy) == [["ISIC_0000003", "duplicate id: files that differ"]] * 2


def test_byte_identical_images(ingest, rows, pictures):
    def copied(source, target):
        files = {CSV: csv(rows)} | pictures | {path_of(target): pictures[path_of(source)]}
        manifest, quarantine = ingest(files)
        return manifest["id"].tolist(), quarantine[["id", "reason"]].to_numpy().tolist()

    # the same lesion: the first stays
    ids, quarantine = copied("ISIC_0000007", "ISIC_0000005")
    assert "ISIC_0000005" in ids
    assert quarantine == [["ISIC_0000007", "duplicated: the same bytes as ISIC_0000005"]]
    # other labels: neither can be trusted
    ids, quarantine = copied("ISIC_0000000", "ISIC_0000001")
    assert ids == rows["image_id"].tolist()[2:]
    reason = "duplicated with another label: ISIC_0000000 akiec, ISIC_0000001 bcc"
    assert quarantine == [["ISIC_0000000", reason], ["ISIC_0000001", reason]]
    # two lesions of one label: both stay, and split makes them one group
    rows.loc[7, "lesion_id"] = "HAM_0000099"
    assert copied("ISIC_0000007", "ISIC_0000005") == (rows["image_id"].tolist(), [])


def test_tables_that_are_missing_or_lack_a_column(ingest, folder, rows, pictures):
    with pytest.raises(InputError, match=r"lacks HAM10000_metadata\.csv; put it beside"):
        ingest(pictures)
    with pytest.raises(InputError, match=r"HAM10000_metadata\.csv: lacks the column dx, age; it has lesion_id"):
        ingest({CSV: csv(rows.drop(columns=["dx", "age"]))})
    with pytest.raises(InputError, match="neither images nor one hmnist_28_28_RGB"):
        ingest({CSV: csv(rows)})
    with pytest.raises(InputError, match="differ; keep one of them"):
        ingest({CSV: csv(rows), f"other/{CSV}": csv(rows[:3])} | pictures)


def test_too_many_in_quarantine_stop_the_run(ingest, rows, pictures):
    damaged = {path_of(f"ISIC_000000{i}"): b"" for i in (1, 2)} | {path_of("ISIC_0000003"): b"x"}
    assert len(ingest({CSV: csv(rows)} | pictures | damaged, max_quarantined=3 / 8)[1]) == 3
    message = (
        r"3 of 8 images quarantined, more than ingest\.max_quarantined \(30%\): 2 in quarantine for 'empty file', such "
        r"as .*ISIC_0000001\.jpg: empty file"
    )
    with pytest.raises(QuarantineError, match=message) as error:
        ingest({CSV: csv(rows)} | pictures | damaged, max_quarantined=0.3)
    assert error.value.quarantine["id"].tolist() == ["ISIC_0000001", "ISIC_0000002", "ISIC_0000003"]


def test_nothing_left_is_an_error_whatever_is_allowed(ingest, rows, pictures):
    with pytest.raises(QuarantineError, match="8 of 8"):
        ingest({CSV: csv(rows)} | dict.fromkeys(pictures, b""), max_quarantined=1.0)


def test_a_table_of_other_images_is_an_error_that_says_so(ingest, rows, pictures):
    """None of its rows is an image's, so that nothing wanted was lost."""
    with pytest.raises(QuarantineError, match="no row names an image that is there: 8 in quarantine for 'image with"):
        ingest({CSV: csv(rows[:0])} | pictures, max_quarantined=1.0)


def test_the_real_archive(real, real_settings):
    manifest, quarantine, _ = ingest_archive(real / "ham10000", "skin", real_settings)
    assert len(manifest) == 10_013
    assert quarantine["id"].tolist() == ["ISIC_0029861", "ISIC_0029938"]
    assert manifest["label"].value_counts().to_dict() == (
        {"nv": 6703, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
    )
    assert manifest["group"].nunique() == 7470
    assert (manifest["sex"] == "unknown").sum() == 57
    assert (manifest["localization"] == "unknown").sum() == 234
    assert manifest["age"].isna().sum() == 57


def test_an_age_is_missing_however_that_is_written(ingest, rows, pictures):
    words = ["", "NA", "NaN", "null", "unknown", "None", " n/a ", "50.0"]
    manifest, quarantine = ingest({CSV: csv(rows.assign(age=words, sex=[*words[:7], "male"]))} | pictures)
    assert quarantine.empty
    assert manifest["age"].isna().tolist() == [True] * 7 + [False]
    assert manifest["sex"].tolist() == ["unknown"] * 7 + ["male"]


def test_many_rows_lost_for_one_reason_are_said_loudly(folder, settings, rows, pictures):
    ages = ["old"] * (FEW + 1) + ["50"] * (len(rows) - FEW - 1)
    lines = summary(ingest_archive(folder({CSV: csv(rows.assign(age=ages))} | pictures), "skin", settings))
    assert lines[0] == f"{len(rows) - FEW - 1} images, {FEW + 1} in quarantine"
    assert lines[2].startswith(f"WARNING: {FEW + 1} in quarantine for 'age', such as ")
    ages = ["old"] + ["50"] * (len(rows) - 1)
    lines = summary(ingest_archive(folder({CSV: csv(rows.assign(age=ages))} | pictures), "skin", settings))
    assert lines[2].startswith("1 in quarantine for 'age'")
