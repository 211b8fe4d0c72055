"""A folder a class: what the reader makes of it, and what it refuses."""

from io import BytesIO
from pathlib import Path

import pytest
from declared import CLASSES, own_task
from pydicom import dcmread
from pydicom.data import get_testdata_file
from scans import scan

from medpipe.data.ingest import build_manifest
from medpipe.data.split import split
from medpipe.errors import InputError
from medpipe.params import Split

FOLDERS = {"kind": "folders", "group": None, "ungrouped": "refuse", "codes": {}, "sets": "ignore"}
BY_GROUP = Split(seed=1, by="group", train=0.6, val=0.2, test=0.2, near=4)


def test_folders_as_people_nest_them(ingest, pictures):
    names = ["train/benign/a.png", "train/benign/left/b.png", "test/malignant/c.JPG", "val/malignant/d.png"]
    litter = {"Thumbs.db": "x", "__MACOSX/train/benign/._a.png": "x", "train/.DS_Store": "x", "desktop.ini": "x"}
    manifest, reasons, notes = ingest(pictures(*names) | litter, FOLDERS)
    whole = ["train/benign/a", "train/benign/left/b", "test/malignant/c", "val/malignant/d"]
    assert manifest["label"].to_dict() == dict(zip(whole, ["benign"] * 2 + ["malignant"] * 2, strict=True))
    assert not reasons
    assert "folders of sets (train 2, test 1, val 1) are ignored" in notes
    assert "set" not in manifest


def test_folders_whose_names_differ_in_case_or_blanks_are_one_class(ingest, pictures):
    manifest, reasons, notes = ingest(pictures("Benign/a.png", "benign /b.png", "MALIGNANT/c.png"), FOLDERS)
    assert manifest["label"].to_dict() == {"Benign/a": "benign", "benign /b": "benign", "MALIGNANT/c": "malignant"}
    assert not reasons
    assert "class benign: folders 'Benign', 'benign ' are taken for one" in notes


def test_folders_by_code(ingest, pictures):
    reader = FOLDERS | {"codes": {"gutartig": "benign", "bösartig": "malignant"}}
    manifest, reasons, _ = ingest(pictures("gutartig/a.png", "bösartig/ä b.png"), reader)
    assert manifest["label"].to_dict() == {"gutartig/a": "benign", "bösartig/ä b": "malignant"}
    assert not reasons


def test_a_nested_copy_of_the_folder_counts_once(ingest, pictures):
    files = pictures("data/benign/a.png", "data/malignant/b.png")
    copy = {f"data/copy of data/{name.removeprefix('data/')}": data for name, data in files.items()}
    manifest, reasons, _ = ingest(files | copy, FOLDERS)
    assert sorted(manifest.index) == ["data/benign/a", "data/malignant/b"]
    assert not reasons


def test_images_of_one_name_are_copies_where_their_bytes_are_the_same(ingest, pictures):
    """Patients above their classes, whose images are numbered from 1 on; one folder was copied, one file cut."""
    names = [f"P{p}/{label}/{i}.png" for p in range(4) for label in CLASSES for i in range(1, 4)]
    files = pictures(*names, "P0/benign/1.jpg")
    files |= {f"copy/{name}": files[name] for name in names[:3]} | {"P9/benign/1.png": b"", "P8/benign/1.png": b""}
    manifest, reasons, _ = ingest(files, FOLDERS)
    whole = {name.removesuffix(".png") for name in names} - {"P0/benign/1"}
    assert set(manifest.index) == {*whole, "P0/benign/1.png", "P0/benign/1.jpg"}
    assert manifest.loc["P0/benign/1.jpg", "path"] == "P0/benign/1.jpg"
    assert reasons == {"P8/benign/1": "empty file"}


def test_what_cannot_be_compared_is_no_copy(ingest, folder, pictures, zipped):
    files = pictures("benign/a.png", "malignant/b.png")
    part = zipped({"benign/1.png": files["benign/a.png"], "x/benign/1.png": files["benign/a.png"]}, "part.zip")
    data = part.read_bytes()
    at = data.index(files["benign/a.png"]) + 50
    part.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    _, reasons, _ = ingest(files | {"part.zip": part.read_bytes()}, FOLDERS)
    assert reasons["part.zip!/benign/1"].startswith("damaged: Bad CRC")


def test_one_image_under_two_labels_is_of_no_use(ingest, pictures):
    files = pictures("benign/a.png", "benign/b.png", "malignant/c.png")
    manifest, reasons, _ = ingest(files | {"malignant/again.png": files["benign/a.png"]}, FOLDERS)
    assert sorted(manifest.index) == ["benign/b", "malignant/c"]
    assert set(reasons) == {"benign/a", "malignant/again"}
    said = "duplicated with another label: benign/a benign, malignant/again malignant"
    assert all(reason.startswith(said) for reason in reasons.values())


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
        build_manifest("t", own_task(archive, FOLDERS), settings)


def test_a_patient_under_two_spellings_is_one(ingest, pictures):
    reader = FOLDERS | {"group": {"pattern": r"([^/]+)_\d\.png$"}}
    names = ["benign/P 01_1.png", "benign/p  01_2.png", "malignant/P02_1.png", "malignant/other.png"]
    manifest, reasons, _ = ingest(pictures(*names), reader)
    assert manifest["group"].to_dict() == {
        "benign/P 01_1": "P 01", "benign/p  01_2": "P 01", "malignant/P02_1": "P02",
    }  # fmt: skip
    assert reasons["malignant/other"].startswith("no group: nothing names its patient or lesion")


FULL = {"window": "full", "frames": "refuse", "axis": None, "context": 0, "max_voxels": 1 << 20}


def straddling(manifest, patients):
    """How many of the patients, by image, a split of the manifest puts into several sets."""
    rows, _, _ = split(clean(manifest), own_task("/", FOLDERS), BY_GROUP)
    return int((rows.groupby(rows["id"].map(patients))["set"].nunique() > 1).sum())


def clean(manifest):
    return manifest.reset_index().sort_values("id", ignore_index=True)


def test_three_images_a_class_reach_every_set_and_two_do_not(ingest, pictures):
    few = [f"{label}/{label}{i}.png" for label in CLASSES for i in range(3)]
    declared = own_task("/", FOLDERS)
    rows, _, report = split(clean(ingest(pictures(*few), FOLDERS)[0]), declared, BY_GROUP)
    assert rows.groupby("label")["set"].nunique().tolist() == [3, 3]
    assert report["grouping"] == "grouped by image: the same patient may be on both sides"
    assert set(report["leak"].values()) == {None}
    with pytest.raises(InputError, match="class malignant is absent from .* it has 2 groups"):
        split(clean(ingest(pictures(*few[:-1]), FOLDERS)[0]), declared, BY_GROUP)


def test_kept_sets_are_checked_for_classes_and_leaks(ingest, pictures):
    reader = FOLDERS | {"sets": "keep", "group": {"pattern": r"([^/]+)_\d\.png$"}}
    given = BY_GROUP.model_copy(update={"by": "given"})
    names = [
        f"{part}/{label}/{label}{part}{i}_1.png" for part in ("train", "test") for label in CLASSES for i in range(6)
    ]
    manifest, _, _ = ingest(pictures(*names), reader)
    rows, _, report = split(clean(manifest), own_task("/", reader), given)
    assert rows["set"].value_counts().to_dict() == {"train": 9, "test": 12, "val": 3}
    assert (rows["id"].str.contains("test") == (rows["set"] == "test")).all()
    assert report["leak"] == {"val": 0, "test": 0, "external": 0}

    leaking = pictures(*(f"test/benign/benigntrain{i}_2.png" for i in range(6)), first=90)
    manifest, _, _ = ingest(pictures(*names) | leaking, reader)
    _, _, report = split(clean(manifest), own_task("/", reader), given)
    assert 4 <= report["leak"]["test"] <= 6  # those whose patient was not dealt to validation

    alone = [name for name in names if not name.startswith("test/malignant")]
    manifest, _, _ = ingest(pictures(*alone), reader)
    with pytest.raises(InputError, match="class malignant is absent from test"):
        split(clean(manifest), own_task("/", reader), given)


def test_dicom_files_with_their_patients(ingest):
    files = {}
    for name, sample in (("benign/IM1", "CT_small.dcm"), ("malignant/b.dcm", "MR_small.dcm")):
        files[name] = Path(get_testdata_file(sample, download=False)).read_bytes()
    files["malignant/plan.dcm"] = Path(get_testdata_file("rtplan.dcm", download=False)).read_bytes()
    decoding = {"window": "full", "frames": "refuse", "axis": None, "context": 0, "max_voxels": 1 << 20}
    manifest, reasons, _ = ingest(files, FOLDERS | {"group": "dicom"}, decoding=decoding)
    assert manifest["label"].to_dict() == {"benign/IM1": "benign", "malignant/b": "malignant"}
    patients = {
        name: dcmread(BytesIO(files[path])).PatientID
        for name, path in (("benign/IM1", "benign/IM1"), ("malignant/b", "malignant/b.dcm"))
    }
    assert manifest["group"].to_dict() == patients
    assert "pixel" in reasons["malignant/plan"]


def test_a_file_name_with_a_number_sign_hides_no_patient(ingest):
    names = {f"{CLASSES[p % 2]}/{p}_{i}.dcm": p for p in range(12) for i in range(5)}
    files = {name: scan(i, PatientID=f"P{patient}") for i, (name, patient) in enumerate(names.items())}
    files = {name.replace("0_0.dcm", "img #1.dcm").replace("1_0.dcm", "img#2"): data for name, data in files.items()}
    manifest, reasons, _ = ingest(files, FOLDERS | {"group": "dicom"}, decoding=FULL)
    assert not reasons
    assert {"benign/img #1", "malignant/img#2"} < set(manifest.index)
    assert manifest["group"].nunique() == 12
    assert straddling(manifest, manifest["group"].to_dict()) == 0


def test_under_patient_ids_a_file_without_one_is_refused(ingest, pictures):
    files = {f"{CLASSES[p % 2]}/{p}_{i}.dcm": scan(9 * p + i, PatientID=f"P{p}") for p in range(6) for i in range(2)}
    files |= pictures("benign/photograph.png") | {"benign/nameless.dcm": scan(99, PatientID="")}
    manifest, reasons, _ = ingest(files, FOLDERS | {"group": "dicom"}, decoding=FULL)
    assert set(reasons) == {"benign/photograph", "benign/nameless"}
    assert all(reason.startswith("no group") for reason in reasons.values())
    assert manifest["group"].value_counts().to_dict() == {f"P{p}": 2 for p in range(6)}
