"""Everyone's layouts: what each reader makes of them, and what it refuses."""

import gzip
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from medpipe.data.ingest import build_manifest
from medpipe.data.split import split
from medpipe.errors import InputError
from medpipe.params import Declaration, Ingest, Split

CLASSES = ("benign", "malignant")
FOLDERS = {"kind": "folders", "group": None, "codes": {}, "sets": "ignore"}
TABLE = {
    "kind": "table", "file": "list.csv", "images": "", "image": "file", "mask": None, "label": "label", "codes": {},
    "source": None, "set": None, "columns": {}, "group": None,
}  # fmt: skip
PAIRS = {"kind": "pairs", "images": "", "masks": "", "suffix": "_mask", "group": None}
LENIENT = Ingest(max_quarantined=0.9, max_pixels=1_000_000)
BY_GROUP = Split(seed=1, by="group", train=0.6, val=0.2, test=0.2, near=4)


def task(archive, reader, **changes):
    declared = {
        "archive": str(archive), "reader": reader, "decoding": EIGHT_BIT, "kind": "classify", "classes": CLASSES,
        "mask_values": None, "features": {}, "subgroups": (), "external": None,
    }  # fmt: skip
    return Declaration.model_validate(declared | changes)


@pytest.fixture
def ingest(folder):
    """ingest(files, reader, **declaration): the manifest by id, the reasons by id, the notes."""

    def run(files, reader, **changes):
        manifest, quarantine, notes = build_manifest("t", task(folder(files), reader, **changes), LENIENT)
        return manifest.set_index("id"), quarantine.set_index("id")["reason"].to_dict(), " | ".join(notes)

    return run


@pytest.fixture
def pictures(encode, noise):
    """pictures(*names): files of different images."""

    def make(*names, first=0):
        return {
            name: encode(noise(i), "JPEG" if name.lower().endswith("jpg") else "PNG")
            for i, name in enumerate(names, first)
        }

    return make


# ---------------------------------------------------------------- folders


def test_folders_as_people_nest_them(ingest, pictures):
    names = ["train/benign/a.png", "train/benign/left/b.png", "test/malignant/c.JPG", "val/malignant/d.png"]
    litter = {"Thumbs.db": "x", "__MACOSX/train/benign/._a.png": "x", "train/.DS_Store": "x", "desktop.ini": "x"}
    manifest, reasons, notes = ingest(pictures(*names) | litter, FOLDERS)
    assert manifest["label"].to_dict() == {"a": "benign", "b": "benign", "c": "malignant", "d": "malignant"}
    assert not reasons
    assert "folders of sets (train 2, test 1, val 1) are ignored" in notes
    assert "set" not in manifest


def test_folders_whose_names_differ_in_case_or_blanks_are_one_class(ingest, pictures):
    manifest, reasons, notes = ingest(pictures("Benign/a.png", "benign /b.png", "MALIGNANT/c.png"), FOLDERS)
    assert manifest["label"].tolist() == ["benign", "benign", "malignant"]
    assert not reasons
    assert "class benign: folders 'Benign', 'benign ' are taken for one" in notes


def test_folders_by_code(ingest, pictures):
    reader = FOLDERS | {"codes": {"gutartig": "benign", "bösartig": "malignant"}}
    manifest, reasons, _ = ingest(pictures("gutartig/a.png", "bösartig/ä b.png"), reader)
    assert manifest["label"].to_dict() == {"a": "benign", "ä b": "malignant"}
    assert not reasons


def test_a_nested_copy_of_the_folder_counts_once(ingest, pictures):
    files = pictures("data/benign/a.png", "data/malignant/b.png")
    copy = {f"data/copy of data/{name.removeprefix('data/')}": data for name, data in files.items()}
    manifest, reasons, _ = ingest(files | copy, FOLDERS)
    assert sorted(manifest.index) == ["a", "b"]
    assert not reasons


def test_images_of_one_name_in_two_classes_stay_apart(ingest, pictures):
    manifest, reasons, _ = ingest(pictures("benign/1.png", "malignant/1.png"), FOLDERS)
    assert manifest["label"].to_dict() == {"benign/1": "benign", "malignant/1": "malignant"}
    assert not reasons


def test_one_image_under_two_labels_is_of_no_use(ingest, pictures):
    files = pictures("benign/a.png", "benign/b.png", "malignant/c.png")
    manifest, reasons, _ = ingest(files | {"malignant/again.png": files["benign/a.png"]}, FOLDERS)
    assert sorted(manifest.index) == ["b", "c"]
    assert set(reasons) == {"a", "again"}
    assert all(
        reason.startswith("duplicated with another label: a benign, again malignant") for reason in reasons.values()
    )


def test_other_folders_and_two_classes_at_once(ingest, pictures):
    _, reasons, _ = ingest(
        pictures("benign/a.png", "malignant/b.png", "benign/malignant/c.png", "unsure/d.png", "benign/e.png"), FOLDERS
    )
    assert reasons == {
        "benign/malignant/c": "folders of benign and malignant: one of benign, malignant wanted",
        "unsure/d": "no folder of a class: one of benign, malignant wanted",
    }
    with pytest.raises(InputError, match=r"no image lies in a folder of a class.* there are images in: x \(1\)"):
        ingest(pictures("x/a.png"), FOLDERS)


def test_a_link_out_of_the_archive_is_refused(folder, settings, pictures, tmp_path):
    archive = folder(pictures("benign/a.png", "malignant/b.png"))
    (tmp_path / "elsewhere.png").write_bytes(b"x")
    (archive / "benign/c.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=r"benign/c\.png: the link leads out of the archive"):
        build_manifest("t", task(archive, FOLDERS), settings)


def test_a_patient_under_two_spellings_is_one(ingest, pictures):
    reader = FOLDERS | {"group": {"pattern": r"([^/]+)_\d\.png$"}}
    names = ["benign/P 01_1.png", "benign/p  01_2.png", "malignant/P02_1.png", "malignant/other.png"]
    manifest, reasons, _ = ingest(pictures(*names), reader)
    assert manifest["group"].to_dict() == {"P 01_1": "P 01", "p  01_2": "P 01", "P02_1": "P02"}
    assert reasons["other"].startswith("no group: the path does not match reader.group.pattern")


def clean(manifest):
    return manifest.reset_index().sort_values("id", ignore_index=True)


def test_three_images_a_class_reach_every_set_and_two_do_not(ingest, pictures):
    few = [f"{label}/{label}{i}.png" for label in CLASSES for i in range(3)]
    declared = task("/", FOLDERS)
    rows, _, report = split(clean(ingest(pictures(*few), FOLDERS)[0]), declared, BY_GROUP)
    assert rows.groupby("label")["set"].nunique().tolist() == [3, 3]
    assert report["grouped"] is False
    with pytest.raises(InputError, match="class malignant is absent from .* it has 2 groups"):
        split(clean(ingest(pictures(*few[:-1]), FOLDERS)[0]), declared, BY_GROUP)


def test_kept_sets_are_checked_for_classes_and_leaks(ingest, pictures):
    reader = FOLDERS | {"sets": "keep", "group": {"pattern": r"([^/]+)_\d\.png$"}}
    given = BY_GROUP.model_copy(update={"by": "given"})
    names = [
        f"{part}/{label}/{label}{part}{i}_1.png" for part in ("train", "test") for label in CLASSES for i in range(6)
    ]
    manifest, _, _ = ingest(pictures(*names), reader)
    rows, _, report = split(clean(manifest), task("/", reader), given)
    assert rows["set"].value_counts().to_dict() == {"train": 9, "test": 12, "val": 3} or (
        rows.loc[rows["id"].str.contains("test"), "set"].eq("test").all()
        and set(rows["set"]) == {"train", "val", "test"}
    )
    assert report["leak"] == {"val": 0, "test": 0, "external": 0}

    leaking = pictures(*(f"test/benign/benigntrain{i}_2.png" for i in range(6)), first=90)
    manifest, _, _ = ingest(pictures(*names) | leaking, reader)
    _, _, report = split(clean(manifest), task("/", reader), given)
    assert 4 <= report["leak"]["test"] <= 6  # those whose patient was not dealt to validation

    alone = [name for name in names if not name.startswith("test/malignant")]
    manifest, _, _ = ingest(pictures(*alone), reader)
    with pytest.raises(InputError, match="class malignant is absent from test"):
        split(clean(manifest), task("/", reader), given)


# ---------------------------------------------------------------- tables

ROWS = pd.DataFrame(
    {
        "file": ["a", "b.png", "sub\\Ö 1.PNG", "d"],
        "label": ["benign", "Malignant", "malignant ", "benign"],
        "patient": ["P1", "P2", " p2", "P 3"],
        "age": ["40", "51.5", "", "7"],
        "sex": ["f", "M", "m", "unknown"],
    }
)
FILES = ("a.png", "b.png", "sub/Ö 1.png", "d.jpg")
FEATURES = {"age": {"range": [0, 120], "bands": [0, 50]}, "sex": {"values": ["f", "m"]}}
DECLARED = {"features": FEATURES, "subgroups": ("sex", "age_band")}
GROUPED = TABLE | {"group": {"column": "patient"}}


def check_rows(manifest, reasons):
    assert not reasons
    assert manifest["label"].to_dict() == {"a": "benign", "b": "malignant", "sub\\Ö 1": "malignant", "d": "benign"}
    assert manifest["group"].to_dict() == {"a": "P1", "b": "P2", "sub\\Ö 1": "P2", "d": "P 3"}
    assert manifest.loc["b", "age"] == 51.5
    assert np.isnan(manifest.loc["sub\\Ö 1", "age"])
    assert sorted(manifest["sex"].str.casefold()) == ["f", "m", "m", "unknown"]


def header_again(rows):
    return pd.concat([rows[:2], pd.DataFrame([rows.columns], columns=rows.columns), rows[2:]])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("list.csv", lambda rows: rows.to_csv(index=False)),
        ("list.csv", lambda rows: rows.to_csv(index=True)),  # with an index column
        ("list.csv", lambda rows: rows.to_csv(index=False, encoding="utf-8-sig").encode("utf-8-sig")),
        ("list.csv", lambda rows: rows.to_csv(index=False).encode("latin-1")),
        ("list.csv", lambda rows: rows.replace("51.5", "51,5").to_csv(index=False, sep=";")),
        ("list.tsv", lambda rows: rows.to_csv(index=False, sep="\t")),
        ("list.csv", lambda rows: header_again(rows).to_csv(index=False)),
    ],
    ids=["plain", "index", "bom", "latin", "semicolons", "tabs", "header again"],
)  # fmt: skip
def test_a_table_whoever_wrote_it(ingest, pictures, name, write):
    declared = DECLARED | {"features": FEATURES | {"sex": {"values": ["f", "M"]}}}
    manifest, reasons, _ = ingest(pictures(*FILES) | {name: write(ROWS)}, GROUPED | {"file": name}, **declared)
    check_rows(manifest, reasons)


def test_excel_and_parquet(ingest, pictures):
    declared = DECLARED | {"features": FEATURES | {"sex": {"values": ["f", "M"]}}}
    typed = ROWS.assign(age=pd.to_numeric(ROWS["age"]))
    for name in ("list.xlsx", "list.parquet"):
        buffer = BytesIO()
        typed.to_excel(buffer, index=False) if name.endswith("xlsx") else typed.to_parquet(buffer)
        manifest, reasons, _ = ingest(
            pictures(*FILES) | {name: buffer.getvalue()}, GROUPED | {"file": name}, **declared
        )
        check_rows(manifest, reasons)


def test_values_that_cannot_be_read_are_named_by_row_and_column(ingest, pictures):
    rows = ROWS.assign(age=["45 years", "2021-03-04", "-1", "8"], sex=["f", "f", "f", "m"])
    _, reasons, _ = ingest(pictures(*FILES) | {"list.csv": rows.to_csv(index=False)}, GROUPED, **DECLARED)
    assert reasons == {
        "a": "age: '45 years'", "b": "age: '2021-03-04'", "sub\\Ö 1": "age: '-1'",
    }  # fmt: skip


def test_rows_and_images_without_each_other_and_names_of_several_files(ingest, pictures):
    rows = pd.DataFrame({"file": ["a", "x", "same", "c"], "label": ["benign", "benign", "malignant", "malignant"]})
    files = pictures("a.png", "1/same.png", "2/same.png", "c.png", "left.png")
    manifest, reasons, _ = ingest(files | {"list.csv": rows.to_csv(index=False)}, TABLE)
    assert sorted(manifest.index) == ["a", "c"]
    assert reasons["x"] == "row without image: 'x'"
    assert reasons["same"] == "several files of one name: 'same' may be 1/same.png or 2/same.png"
    assert reasons["left"] == "image without row"


def test_labels_at_odds_with_the_folder(ingest, pictures):
    rows = pd.DataFrame({"file": ["a", "b", "c"], "label": ["malignant", "malignant", "benign"]})
    files = pictures("benign/a.png", "malignant/b.png", "benign/c.png")
    _, reasons, _ = ingest(files | {"list.csv": rows.to_csv(index=False)}, TABLE)
    assert reasons == {"a": "two labels: malignant in the table, in the folder benign"}


def test_a_table_beside_folders_of_classes(ingest, pictures):
    rows = pd.DataFrame({"file": ["a", "b", "c", "d"], "age": [1, 2, 3, 4]})
    files = pictures("Benign/a.png", "malignant/b.png", "c.png", "benign/malignant/d.png")
    declared = {"features": {"age": {"range": [0, 9], "bands": []}}}
    manifest, reasons, _ = ingest(files | {"list.csv": rows.to_csv(index=False)}, TABLE | {"label": None}, **declared)
    assert manifest["label"].to_dict() == {"a": "benign", "b": "malignant"}
    assert manifest["age"].tolist() == [1, 2]
    assert reasons == {"c": "unknown class: ''", "d": "unknown class: ''"}


def test_one_hot_and_coded_labels(ingest, pictures):
    rows = pd.DataFrame({"file": list("abcd"), "B": [1, 0, 1, 0], "M": [0, 1, 1, 0], "y": ["0", "1", "0", "7"]})
    files = pictures(*(f"{name}.png" for name in "abcd")) | {"list.csv": rows.to_csv(index=False)}
    hot = TABLE | {"label": {"benign": "B", "malignant": "M"}}
    manifest, reasons, _ = ingest(files, hot)
    assert manifest["label"].to_dict() == {"a": "benign", "b": "malignant"}
    assert reasons == dict.fromkeys("cd", "one-hot row: exactly one 1 among the classes wanted")
    manifest, reasons, _ = ingest(files, TABLE | {"label": "y", "codes": {"0": "benign", "1": "malignant"}})
    assert manifest["label"].to_dict() == {"a": "benign", "b": "malignant", "c": "benign"}
    assert reasons == {"d": "unknown class: '7'"}


def test_a_missing_column_or_table_is_named(ingest, pictures):
    with pytest.raises(InputError, match=r"list\.csv: lacks the column label; it has file, y"):
        ingest(pictures("a.png") | {"list.csv": "file,y\na,1\n"}, TABLE)
    with pytest.raises(InputError, match=r"has no 'list\.csv', which reader\.file names"):
        ingest(pictures("a.png"), TABLE)


def test_an_isic_export(ingest, pictures):
    listed = pd.DataFrame(
        {
            "isic_id": ["ISIC_1", "ISIC_2", "ISIC_3"], "attribution": ["A", "A", "B"], "age_approx": [40, None, 60],
            "anatom_site_general": ["head/neck", "", "lower extremity"], "sex": ["male", "female", ""],
            "diagnosis_1": ["Benign", "Malignant", "Indeterminate"], "patient_id": ["IP_1", "IP_1", ""],
        }
    )  # fmt: skip
    reader = {"kind": "isic", "label": "diagnosis_1", "codes": {}}
    declared = {
        "features": {
            "age": {"range": [0, 120], "bands": []}, "sex": {"values": ["female", "male"]},
            "localization": {"values": ["head/neck", "lower extremity"]},
        },
        "subgroups": ("sex", "source"),
    }  # fmt: skip
    files = pictures("ISIC_1.jpg", "ISIC_2.jpg", "ISIC_3.jpg") | {"metadata.csv": listed.to_csv(index=False)}
    manifest, reasons, notes = ingest(files, reader, **declared)
    assert manifest["label"].to_dict() == {"ISIC_1": "benign", "ISIC_2": "malignant"}
    assert manifest["group"].nunique() == 1
    assert manifest["source"].tolist() == ["A", "A"]
    assert reasons == {"ISIC_3": "unknown class: 'Indeterminate'"}
    assert "1 images have no patient_id: each is a group of its own" in notes


# ---------------------------------------------------------------- pairs

MASKED = {"kind": "both", "mask_values": [255], "classes": ("empty", "marked")}


def mask(value=255, size=(24, 18), place=(3, 3), mode="L"):
    image = Image.new(mode, size)
    image.putpixel(place, value)
    return image


def test_pairs_in_two_folders_or_beside_each_other(ingest, pictures, encode):
    masks = {"a": mask(), "b": Image.new("L", (24, 18)), "c": mask()}
    two = pictures(*(f"images/{n}.jpg" for n in masks)) | {f"masks/{n}.png": encode(m) for n, m in masks.items()}
    beside = pictures(*(f"p/{n}.jpg" for n in masks)) | {f"p/{n}_mask.png": encode(m) for n, m in masks.items()}
    for files, reader in (
        (two, {"images": "images", "masks": "masks", "suffix": ""}),
        (beside, {"images": "p", "masks": "p"}),
    ):
        manifest, reasons, _ = ingest(files, PAIRS | reader, **MASKED)
        assert manifest["label"].to_dict() == {"a": "marked", "b": "empty", "c": "marked"}
        assert not reasons


def test_masks_that_are_missing_of_another_size_in_colours_or_of_several_values(ingest, pictures, encode):
    files = pictures(*(f"{name}.png" for name in "abcdef"))
    masks = {
        "a": mask(), "b": Image.new("L", (24, 18)), "c": mask(size=(18, 24)), "d": mask((255, 0, 0), mode="RGB"),
        "e": mask(7),
    }  # fmt: skip
    files |= {f"{name}_mask.png": encode(image) for name, image in masks.items()}
    manifest, reasons, _ = ingest(files | {"alone_mask.png": encode(mask(place=(0, 0)))}, PAIRS, **MASKED)
    assert manifest["label"].to_dict() == {"a": "marked", "b": "empty"}
    assert reasons == {
        "alone": "mask without image",
        "c": "mask size: 18 x 24, image 24 x 18",
        "d": "mask values: in colours, such as [[0, 0, 0], [255, 0, 0]]; a grey mask wanted",
        "e": "mask values: 7 beside 0 and 255 (mask_values)",
        "f": "image without mask",
    }
    both = MASKED | {"mask_values": [7, 255]}
    assert ingest(files, PAIRS, **both)[0].loc["e", "label"] == "marked"


def test_slices_of_volumes_with_their_masks(ingest):
    rng = np.random.default_rng(0)
    marked = np.zeros((6, 5, 4), np.uint8)
    marked[2:4, 2:4, 1] = 1
    volumes = {"v1.nii.gz": rng.integers(0, 900, (6, 5, 4)), "v2.nii": rng.integers(0, 900, (6, 5, 4))}
    files = {name: packed(volume.astype(np.int16), name) for name, volume in volumes.items()}
    files |= {"v1_mask.nii.gz": packed(marked, "m.nii.gz"), "v2_mask.nii": packed(marked[..., :3], "m.nii")}
    decoding = {"window": "full", "frames": "refuse", "axis": 2}
    manifest, reasons, _ = ingest(files, PAIRS, **MASKED | {"mask_values": [255], "decoding": decoding})
    assert manifest["label"].to_dict() == {"v1-0": "empty", "v1-1": "marked", "v1-2": "empty", "v1-3": "empty"}
    assert set(manifest["group"]) == {"v1"}
    assert reasons == {"v2": "mask slices: 3, the image has 4"}


def packed(volume, name):
    image = nibabel.Nifti1Image(volume, np.eye(4))
    data = image.to_bytes()
    if name.endswith(".gz"):
        return gzip.compress(data)
    return data


def test_dicom_files_with_their_patients(ingest):
    files = {}
    for name, sample in (("benign/IM1", "CT_small.dcm"), ("malignant/b.dcm", "MR_small.dcm")):
        files[name] = Path(get_testdata_file(sample, download=False)).read_bytes()
    files["malignant/plan.dcm"] = Path(get_testdata_file("rtplan.dcm", download=False)).read_bytes()
    decoding = {"window": "full", "frames": "refuse", "axis": None}
    manifest, reasons, _ = ingest(files, FOLDERS | {"group": "dicom"}, decoding=decoding)
    assert manifest["label"].to_dict() == {"IM1": "benign", "b": "malignant"}
    patients = {
        name: dcmread(BytesIO(files[path])).PatientID
        for name, path in (("IM1", "benign/IM1"), ("b", "malignant/b.dcm"))
    }
    assert manifest["group"].to_dict() == patients
    assert "pixel" in reasons["plan"]
