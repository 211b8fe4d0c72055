import numpy as np
import pandas as pd
import pytest
from declared import ingest_archive
from PIL import ExifTags, Image

from medpipe.data.vocabulary import COLUMNS
from medpipe.errors import InputError

SLICES = [f"TCGA_CS_4941_19960909_{k}" for k in (1, 2, 10)] + [f"TCGA_HT_A61A_20000127_{k}" for k in (1, 2, 3)]
TUMOUR = SLICES[2:5]
THIRD = SLICES[2]


def path_of(name):
    return f"kaggle_3m/{name.rsplit('_', 1)[0]}/{name}.tif"


def mask_of(name):
    return path_of(name).replace(".tif", "_mask.tif")


@pytest.fixture
def files(encode, noise):
    empty, marked = Image.new("L", (24, 18)), np.zeros((18, 24), np.uint8)
    marked[3, 4] = 255
    files = {"kaggle_3m/data.csv": "Patient,x\n", "kaggle_3m/README.md": "x"}
    for i, name in enumerate(SLICES):
        files[path_of(name)] = encode(noise(i), "TIFF")
        files[mask_of(name)] = encode(Image.fromarray(marked) if name in TUMOUR else empty, "TIFF")
    return files


@pytest.fixture
def listed():
    return pd.DataFrame(
        {"patient_id": [name.rsplit("_", 1)[0] for name in SLICES], "image_path": map(path_of, SLICES)}
        | {"mask_path": map(mask_of, SLICES), "mask": [int(name in TUMOUR) for name in SLICES]}
    )


@pytest.fixture
def ingest(folder, settings):
    def run(files):
        manifest, quarantine, _ = ingest_archive(folder(files), "brain", settings)
        return manifest, quarantine.to_numpy().tolist()

    return run


def test_the_manifest_says_what_names_and_masks_say(ingest, files):
    manifest, quarantine = ingest(files)
    assert quarantine == []
    assert list(manifest) == [*COLUMNS, "patient", "slice", "site"]
    assert manifest["id"].tolist() == sorted(SLICES)
    assert manifest["path"].tolist() == [path_of(name) for name in manifest["id"]]
    assert manifest["mask_path"].tolist() == [mask_of(name) for name in manifest["id"]]
    assert manifest["label"].tolist() == ["tumour" if name in TUMOUR else "healthy" for name in manifest["id"]]
    assert manifest["group"].tolist() == manifest["patient"].tolist() == ["TCGA_CS_4941"] * 3 + ["TCGA_HT_A61A"] * 3
    assert manifest["site"].tolist() == manifest["source"].tolist() == ["CS"] * 3 + ["HT"] * 3
    assert manifest["slice"].tolist() == [1, 10, 2, 1, 2, 3]
    assert manifest["slice"].dtype == np.int64


def test_every_layout_gives_the_same_manifest(folder, zipped, settings, files, listed):
    wanted, _, _ = ingest_archive(folder(files), "brain", settings)
    inside = {name.removeprefix("kaggle_3m/"): data for name, data in files.items()}
    download = files | {f"lgg-mri-segmentation/{name}": data for name, data in files.items()}  # Kaggle ships it twice
    short = listed.assign(image_path=listed["image_path"].str.removeprefix("kaggle_3m/"))
    layouts = {
        "inside": folder(inside, "inside"),
        "download": zipped(download),
        "nested": folder({"x/lgg-mri-segmentation/" + name: data for name, data in files.items()}, "nested"),
        "listed": folder(files | {"kaggle_3m/data_mask.csv": listed.to_csv(index=False)}, "listed"),
        "listed short": folder(files | {"data_mask.csv": short.to_csv(index=False)}, "short"),
    }
    for path in layouts.values():
        manifest, quarantine, _ = ingest_archive(path, "brain", settings)
        assert quarantine.empty
        paths = ["path", "mask_path"]
        pd.testing.assert_frame_equal(manifest.drop(columns=paths), wanted.drop(columns=paths))


def test_damaged_slices_and_masks(ingest, files, damaged_images):
    for reason, data in damaged_images.items():
        for path in (path_of(THIRD), mask_of(THIRD)):
            manifest, [row] = ingest(files | {path: data})
            assert len(manifest) == 5
            assert row[:2] == [THIRD, path]
            # The values of a mask of 16 bits count as they stand.
            deep = path == mask_of(THIRD) and reason.startswith("colour model: I;16")
            assert row[2].startswith("mask values: 1, 2, 3" if deep else reason)


def test_masks_of_another_size_or_with_other_values(ingest, files, encode):
    grey = Image.new("L", (24, 18))
    grey.putpixel((1, 1), 1)
    for mask, reason in (
        (grey, "mask values: 1 beside 0 and 255 (mask_values)"),
        (Image.new("L", (18, 24)), "mask size: 18 x 24, image 24 x 18"),
    ):
        manifest, quarantine = ingest(files | {mask_of(THIRD): encode(mask, "TIFF")})
        assert len(manifest) == 5
        assert quarantine == [[THIRD, mask_of(THIRD), reason]]


def test_a_slice_and_its_mask_are_turned_as_they_are_tagged(ingest, files, encode, noise):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = {
        path_of(THIRD): encode(noise(2), "TIFF", exif=exif),
        mask_of(THIRD): encode(Image.new("L", (24, 18)), "TIFF", exif=exif),
    }
    manifest, quarantine = ingest(files | turned)
    assert quarantine == []
    row = manifest[manifest["id"] == THIRD].iloc[0]
    assert (row["width"], row["height"]) == (18, 24)  # those after turning
    assert ingest(files | {path_of(THIRD): turned[path_of(THIRD)]})[1] == [
        [THIRD, mask_of(THIRD), "mask size: 24 x 18, image 18 x 24"]
    ]


def test_slices_and_masks_without_each_other(ingest, files):
    without = {name: data for name, data in files.items() if name != mask_of(THIRD)}
    assert ingest(without)[1] == [[THIRD, path_of(THIRD), "image without mask"]]


def test_a_mask_without_its_slice(ingest, files):
    files.pop(path_of(THIRD))
    assert ingest(files)[1] == [[f"{THIRD}_mask", mask_of(THIRD), "mask without image"]]


def test_names_that_tell_no_patient_and_two_files_of_a_name(ingest, files, encode, noise):
    name = "TCGA_CS_4941_7"
    assert ingest(files | {f"kaggle_3m/{name}.tif": b"x"})[1] == [
        [name, f"kaggle_3m/{name}.tif", "name: TCGA_<site>_<patient>_<date>_<slice>.tif wanted"]
    ]


def test_two_files_of_a_name_that_differ(ingest, files, encode, noise):
    other = f"other/{THIRD}.tif"
    assert ingest(files | {other: encode(noise(9), "TIFF")})[1] == [
        [THIRD, path, "duplicate id: files that differ"] for path in (path_of(THIRD), other)
    ]


def test_data_mask_csv_must_agree_with_the_files(ingest, files, listed):
    def change(column, value):
        table = listed.astype(object)
        table.loc[2, column] = value
        return table

    def quarantine(table):
        manifest, quarantine = ingest(files | {"kaggle_3m/data_mask.csv": table.to_csv(index=False)})
        assert THIRD not in set(manifest["id"])
        return quarantine

    no_path, csv = [THIRD, ""], "data_mask.csv: "
    assert quarantine(change("mask", 0)) == [[THIRD, mask_of(THIRD), "listing: says healthy, the mask tumour"]]
    assert quarantine(change("mask", "yes")) == [[*no_path, f"{csv}mask is 'yes', 0 or 1 wanted"]]
    assert quarantine(change("mask_path", mask_of(SLICES[0]))) == [
        [*no_path, f"{csv}'{mask_of(SLICES[0])}' is not the image's mask"]
    ]
    assert quarantine(change("image_path", f"elsewhere/{THIRD}.tif")) == [
        [*no_path, f"{csv}'elsewhere/{THIRD}.tif' is not where the image lies"]
    ]
    missing = THIRD.replace("_10", "_77")
    assert quarantine(change("image_path", path_of(missing))) == [
        [THIRD, path_of(THIRD), "image without row"],
        [missing, "", "row without image"],
    ]
    assert quarantine(listed.drop(index=2)) == [[THIRD, path_of(THIRD), "image without row"]]
    twice = pd.concat([listed, listed[2:3].assign(mask=0)])
    assert quarantine(twice) == [[*no_path, "duplicate id: rows that differ"]] * 2


@pytest.mark.parametrize("above", ["kaggle_3m\\", "C:\\Users\\me\\lgg\\", "/kaggle/input/lgg/kaggle_3m/", "..\\"])
def test_data_mask_csv_may_name_paths_of_another_machine(ingest, files, listed, above):
    wanted, _ = ingest(files)
    for column in ("image_path", "mask_path"):
        short = listed[column].str.removeprefix("kaggle_3m/")
        listed[column] = above + (short.str.replace("/", "\\") if "\\" in above else short)
    manifest, quarantine = ingest(files | {"data_mask.csv": listed.to_csv(index=False)})
    assert quarantine == []
    pd.testing.assert_frame_equal(manifest, wanted)


def test_data_mask_csv_lacks_a_column(ingest, files, listed):
    with pytest.raises(InputError, match=r"data_mask\.csv: lacks the column mask; it has patient_id"):
        ingest(files | {"data_mask.csv": listed.drop(columns="mask").to_csv(index=False)})


def test_no_slices(ingest):
    with pytest.raises(InputError, match="holds no images; it must hold kaggle_3m"):
        ingest({"kaggle_3m/data.csv": "Patient,x\n"})


def test_the_real_archive(real, real_settings):
    for path in (real / "lgg", real / "lgg" / "kaggle_3m"):
        manifest, quarantine, _ = ingest_archive(path, "brain", real_settings)
        assert quarantine.empty
        assert manifest["label"].value_counts().to_dict() == {"healthy": 415, "tumour": 223}
        assert manifest["group"].nunique() == 16
        assert set(manifest["width"]) == set(manifest["height"]) == {256}


def test_of_blank_copies_one_stays_for_split_ties_no_patients_by_them(ingest, files, encode):
    first, second = SLICES[0], SLICES[5]
    blank = encode(Image.new("RGB", (24, 18)), "TIFF")
    manifest, quarantine = ingest(files | dict.fromkeys(map(path_of, (first, second)), blank))
    assert quarantine == [[second, path_of(second), f"duplicated: the same bytes as {first}"]]
    assert first in set(manifest["id"])


def test_a_corrected_mask_changes_the_manifest(ingest, files):
    before, _ = ingest(files)
    after, _ = ingest(files | {mask_of(THIRD): files[mask_of(THIRD)] + b"\0"})
    changed = before["mask_sha256"] != after["mask_sha256"]
    assert before.loc[changed, "id"].tolist() == [THIRD]
    assert before.drop(columns="mask_sha256").equals(after.drop(columns="mask_sha256"))


def test_the_path_says_the_patient_and_not_data_mask_csv(folder, settings, files, listed):
    """In the public file patient_id is mostly another patient's than the path's."""
    table = listed.assign(patient_id=[*listed["patient_id"][1:], "TCGA_DU_5849_19950405"])
    found = ingest_archive(folder(files | {"kaggle_3m/data_mask.csv": table.to_csv(index=False)}), "brain", settings)
    assert found.quarantine.empty
    assert len(found.manifest) == len(SLICES)
    apart = sum(not name.startswith(patient) for name, patient in zip(SLICES, table["patient_id"], strict=True))
    note = found.notes[0]
    assert f"another patient's than the path's in {apart} of {len(SLICES)} rows; the column was passed over" in note
    assert all(row.id.startswith(row.group) for row in found.manifest.itertuples())
