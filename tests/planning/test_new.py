"""What `make new` makes of archives that nobody has described."""

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scans import scan

from medpipe import params
from medpipe.data.archive import Archive
from medpipe.errors import InputError
from medpipe.planning.columns import classes
from medpipe.planning.found import Asked
from medpipe.planning.look import look
from medpipe.planning.plan import plan
from medpipe.planning.write import write

REPOSITORY = Path(__file__).parents[2]


def png(seed, size=(96, 80)):
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def archive(tmp_path):
    def make(files):
        for i, (name, data) in enumerate(files.items()):
            path = tmp_path / "archive" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(i) if data is None else data if isinstance(data, bytes) else data.encode())
        return Archive(tmp_path / "archive")

    return make


@pytest.fixture
def new(archive, tmp_path):
    """new(files): the plan, and params with it."""

    def make(files, name="retina", *arguments):
        asked = Asked.parse(arguments)
        found = archive(files)
        made = plan(name, found, look(found, asked), 10**8, asked.split)
        for file in params.FILES:
            shutil.copy(REPOSITORY / file, tmp_path / file)
        write(tmp_path, made.sections)
        return made, params.load(tmp_path)

    return make


def test_folders_with_metadata_beside_them_become_a_whole_task(new, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"image": f"P{p:02d}_{eye}", "diagnosis": label, "Patient ID": f"P{p:02d}", "LesionID": p,
         "Age (years)": 30 + p, "sex": rng.choice(["female", "male"]), "centre": rng.choice(["A", "B"])}
        for label, patients in (("healthy", range(24)), ("ill", range(24, 31)))
        for p in patients
        for eye in ("left", "right")
    ]  # fmt: skip
    files = dict.fromkeys((f"{row['diagnosis']}/{row['image']}.png" for row in rows), None)
    made, settings = new(files | {"info/patients.csv": pd.DataFrame(rows).to_csv(index=False)})
    task = settings.tasks["retina"]
    assert task.reader.kind == "table"
    assert (task.reader.file, task.reader.image, task.reader.label) == ("info/patients.csv", "image", "diagnosis")
    assert task.reader.group.column == "Patient ID"
    assert task.reader.columns == {"Age_years": "Age (years)"}
    assert task.classes == ("healthy", "ill")
    assert set(task.features) == {"Age_years", "sex"}  # no number of a lesion or patient
    assert task.features["Age_years"].range == (30, 60)
    assert task.features["sex"].values == ("female", "male")
    assert set(task.subgroups) == {"sex", "Age_years_band", "source"}
    assert settings.clean["retina"].unknown == "category"
    split = settings.split["retina"]
    assert (split.by, split.train, split.val, split.test) == ("group", 0.6, 0.2, 0.2)  # seven patients of one class
    assert settings.prepare["retina-64"].sizes == (64,)
    assert settings.models["retina-small"].class_weights == "balanced"
    kinds = ("tabular", "small", "b0", "stacked", "early")
    assert settings.compare["retina"].models == tuple(f"retina-{kind}" for kind in kinds)
    report = "\n".join(made.report)
    assert "62 images of 31 groups" in report
    assert "class ill: 14 images of 7 groups" in report
    assert "check: group: the column Patient ID" in report
    assert "check: features: Age_years (30 to 60), sex (female, male)" in report
    assert "choose: tasks.retina.reader.source: centre says where images come from" in report

    # Said again, and nothing is written; what stood in the file stands there as it did.
    before = {file: (tmp_path / file).read_text() for file in params.FILES}
    assert write(tmp_path, made.sections) == []
    assert {file: (tmp_path / file).read_text() for file in params.FILES} == before
    new_lines = {line for part in made.sections.values() for line in part}
    for file, text in before.items():
        left = [line for line in text.splitlines() if line not in new_lines]
        assert left == [line for line in (REPOSITORY / file).read_text().splitlines() if line in set(left)]


def test_folders_alone(new):
    names = [f"{part}/{label}/{i:03d}.png" for part in ("train", "test") for label in ("a", "b") for i in range(12)]
    made, settings = new({name.replace("/0", f"/{name[:2]}0"): None for name in names})
    task = settings.tasks["retina"]
    assert (task.reader.kind, task.reader.sets, task.reader.group) == ("folders", "keep", None)
    assert settings.split["retina"].by == "given"
    assert task.classes == ("a", "b")
    report = "\n".join(made.report)
    assert "the archive's own sets are kept: train 24, test 24; validation is dealt of the training rows" in report
    assert "choose: split.retina.by: `given` keeps the published sets; whether a patient trains and tests" in report
    assert "check: group: none found: the same patient may be on both sides" in report


def test_folders_of_patients_below_their_class(new):
    files = {f"{label}/{label}{p}/{i}.png": None for label in ("yes", "no") for p in range(8) for i in range(3)}
    made, settings = new(files)
    assert settings.tasks["retina"].reader.group.pattern == "([^/]+)/[^/]+$"
    assert "48 images of 16 groups" in "\n".join(made.report)


def grouped(made):
    """What the report says of the group."""
    return next(line.removeprefix("check: group: ") for line in made.report if line.startswith("check: group: "))


SCANS = {
    f"{label}/P{p:02d}/study{s}/{10 * p + s}/{i}.dcm": (label, p, s, i)
    for label, patients in (("benign", range(6)), ("malignant", range(6, 12)))
    for p in patients
    for s in range(2)
    for i in range(2)
}


def scans(patient="", study=""):
    """SCANS whose headers have these ids, formatted with patient and study."""
    return {
        path: scan(
            100 * p + 10 * s + i, 32, PatientID=patient.format(p=p, s=s), StudyInstanceUID=study.format(p=p, s=s)
        )
        for path, (_, p, s, i) in SCANS.items()
    }


def test_headers_name_patients_before_any_folder_does(new):
    made, settings = new(scans("ID{p}", "1.{p}.{s}"))
    assert settings.tasks["retina"].reader.group == "dicom"
    said = "the PatientID of the files' headers; 12 groups such as ID0 (benign/P00/study0/0/0.dcm), ID1 "
    assert grouped(made).startswith(said)
    assert grouped(made).endswith("; 4 to 4 images each, 4 in the median one")
    assert not [line for line in made.report if "reader.group" in line]


def test_patient_ids_made_alike_leave_the_study(new):
    made, settings = new(scans("ANONYMOUS", "1.{p}"))
    assert settings.tasks["retina"].reader.group == "study"
    assert "StudyInstanceUID of the files' headers, whose PatientIDs are all ANONYMOUS; 12 groups" in grouped(made)


def test_headers_whose_ids_part_a_folder_are_a_question(new):
    made, settings = new(scans("ID{p}{s}"))  # an anonymiser that gave each study another id
    assert settings.tasks["retina"].reader.group == "dicom"
    said = "reader.group: 12 of 12 folders such as P00 (the folder 2 above the one that an image lies in) hold several"
    assert said in "\n".join(made.report)


def test_without_ids_in_headers_the_highest_folder_of_many_is_the_patient(new):
    made, settings = new(scans("ANONYMOUS", "1.2"))
    assert settings.tasks["retina"].reader.group.pattern == "([^/]+)/[^/]+/[^/]+/[^/]+$"
    assert "12 groups such as P00 (benign/P00/study0/0/0.dcm), P01 (" in grouped(made)


def test_folders_above_their_class_are_patients_though_they_hold_several(new):
    files = {f"P{p:02d}/{label}/S{p}{label}/{i}.png": None for p in range(10) for label in ("a", "b") for i in range(2)}
    made, settings = new(files)
    assert settings.tasks["retina"].classes == ("a", "b")
    assert settings.tasks["retina"].reader.group.pattern == "([^/]+)/[^/]+/[^/]+/[^/]+$"
    assert "10 groups such as P00 (" in grouped(made)


def test_folders_whose_numbers_are_under_both_classes_count_as_one_patient_and_are_a_question(new):
    made, _ = new({f"{label}/{p}/{label}{p}{i}.png": None for label in ("a", "b") for p in range(8) for i in range(2)})
    assert "8 groups such as 0 (" in grouped(made)
    assert "choose: tasks.retina.reader.group: a folder such as 0 is there under several classes" in made.report[-1]


def test_patients_in_file_names_of_several_shapes(new):
    names = [f"NORMAL/NORMAL2-IM-{1400 + p}-000{i}.jpeg" for p in range(10) for i in range(2)]
    names += [f"NORMAL/IM-{100 + p:04d}-000{i}.jpeg" for p in range(10) for i in range(1, 3)]
    names += [
        f"PNEUMONIA/person{p}_{('bacteria', 'virus')[i % 2]}_{3 * p + i}.jpeg" for p in range(12) for i in range(3)
    ]
    made, _ = new(dict.fromkeys(names))
    assert "76 images of 32 groups" in made.report[0]
    assert "such as 0100 (NORMAL/IM-0100-0001.jpeg), 0101 (" in grouped(made)
    assert grouped(made).endswith("; 2 to 3 images each, 2 in the median one")


def test_numbers_that_begin_again_in_each_class_are_no_patients(new):
    made, settings = new({f"{label}/{label} ({i}).png": None for label, n in (("a", 14), ("b", 6)) for i in range(n)})
    assert settings.tasks["retina"].reader.group is None
    assert grouped(made).startswith("none found: the same patient may be on both sides")


def test_patients_numbers_that_are_there_under_both_classes_are_a_question(new):
    made, _ = new({f"{label}/{label}_{p}_{i}.png": None for label in ("a", "b") for p in range(8) for i in "xy"})
    assert "8 groups such as 0 (a/a_0_x.png)" in grouped(made)
    assert "reader.group: a part of a name such as 0 is there under several classes" in made.report[-1]


def test_groups_in_a_second_table_are_found(new):
    names = [f"ISIC_{i:07d}" for i in range(60)]
    hot = pd.DataFrame({"image": names, "MEL": [1.0, 0.0] * 30, "NV": [0.0, 1.0] * 30})
    lesions = [f"BCN_{i // 3}" if i < 59 else "" for i in range(60)]
    metadata = pd.DataFrame({"image": names, "sex": ["male", "female"] * 30, "lesion_id": lesions})
    files = dict.fromkeys(f"ISIC_2019_Training_Input/{name}.jpg" for name in names)
    files |= {"GroundTruth.csv": hot.to_csv(index=False), "Metadata.csv": metadata.to_csv(index=False)}
    made, settings = new(files)
    reader = settings.tasks["retina"].reader
    assert (reader.file, reader.label) == ("GroundTruth.csv", {"MEL": "MEL", "NV": "NV"})
    assert reader.group.model_dump() == {"file": "Metadata.csv", "image": "image", "column": "lesion_id"}
    assert "59 images of 20 groups" in made.report[0]
    question = (
        "choose: tasks.retina.reader.ungrouped: 1 images have no group, such as ISIC_2019_Training_Input/ISIC_0000059"
    )
    assert made.report[-1].startswith(question)


def test_a_second_key_ties_what_has_no_first_one_and_only_then(new):
    rows = pd.DataFrame(
        {
            "file": [f"x{i}.png" for i in range(40)], "label": ["a", "b"] * 20,
            "patient_id": [f"P{i // 2}" if i % 2 else "" for i in range(36)] + ["P18", "P18", "P19", "P19"],
            "lesion_id": [f"L{i // 2}" for i in range(40)], "case": ["1", "2"] * 20,
            "width": range(100, 180, 2),
        }
    )  # fmt: skip
    rows.loc[0:8, "patient_id"] = [f"P{i // 2}" for i in range(9)]
    made, settings = new(dict.fromkeys(rows["file"]) | {"t.csv": rows.to_csv(index=False)})
    assert settings.tasks["retina"].reader.group.column == ("patient_id", "lesion_id")
    assert "40 images of 20 groups" in made.report[0]
    assert settings.tasks["retina"].reader.columns == {"width_given": "width"}  # a manifest has a `width` of its own


def test_pairs(new):
    mask = BytesIO()
    marked = Image.new("L", (96, 80))
    marked.putpixel((4, 4), 1)
    marked.save(mask, "PNG")
    files = {f"images/P{p}_{i}.png": None for p in range(10) for i in range(3)}
    files |= {f"masks/P{p}_{i}.png": mask.getvalue() for p in range(10) for i in range(3)}
    _, settings = new(files, "nerve")
    task = settings.tasks["nerve"]
    assert (task.reader.images, task.reader.masks) == ("images/([^/]+)", "masks/([^/]+)")
    assert (task.kind, task.mask_values) == ("both", {"marked": (1,)})
    assert task.reader.group.pattern
    assert "nerve-resunet" in settings.models


def test_masks_of_several_values_are_classes_and_a_question(new):
    labels = np.zeros((80, 96), np.uint8)
    labels[:20], labels[40:60] = 1, 4
    mask = BytesIO()
    Image.fromarray(labels).save(mask, "PNG")
    files = {f"images/P{p}_{i}.png": None for p in range(10) for i in range(3)}
    files |= {f"masks/P{p}_{i}.png": mask.getvalue() + bytes(p) for p in range(10) for i in range(3)}
    made, settings = new(files, "nerve")
    assert settings.tasks["nerve"].mask_values == {"value_1": (1,), "value_4": (4,)}
    assert "choose: tasks.nerve.mask_values: masks hold several values, a class each" in "\n".join(made.report)


def test_a_column_that_tells_the_label_is_no_feature(new):
    rows = pd.DataFrame(
        {"file": [f"{i}.png" for i in range(40)], "label": ["x", "y"] * 20, "finding_code": ["17", "4"] * 20}
    )
    made, settings = new(dict.fromkeys(rows["file"]) | {"t.csv": rows.to_csv(index=False)})
    assert settings.tasks["retina"].features == {}
    assert "finding_code tells the label of 100% of the rows, so it is none" in "\n".join(made.report)
    assert grouped(made).startswith("none found: the same patient may be on both sides")


def test_a_class_of_two_images_is_left_out_and_said(new):
    files = {f"{label}/{i}.png": None for label, n in (("a", 12), ("b", 12), ("rare", 2)) for i in range(n)}
    made, settings = new(files)
    assert settings.tasks["retina"].classes == ("a", "b")
    assert "check: class rare is left out, with 2 groups; every set needs one" in made.report


def test_classes_in_other_scripts_keep_apart():
    labels = pd.Series(["恶性", "良性", "良性", "良性", "Naevus", "Naevus"])
    assert classes(labels) == (["class", "Naevus", "class_3"], {"良性": "class", "恶性": "class_3"})


def test_what_is_no_archive_of_images_says_what_is_there(archive):
    with pytest.raises(InputError, match="holds no images that can be read"):
        look(archive({"a.txt": "x"}), Asked())
    with pytest.raises(InputError, match=r"1 images, but neither folders of classes, .* Images lie in: x \(1\)"):
        look(archive({"x/a.png": None}), Asked())


def test_a_section_of_the_name_stays_and_a_file_that_would_be_invalid_is_not_written(new, tmp_path):
    files = {f"{label}/{i}.png": None for label in ("a", "b") for i in range(6)}
    made, _ = new(files)
    path = tmp_path / "data.yaml"
    text = path.read_text().replace("task: retina\n", "task: retinal\n", 1)
    path.write_text(text)
    with pytest.raises(InputError, match="retinal"):
        write(tmp_path, made.sections)
    assert path.read_text() == text


def test_another_archive_adds_nothing_to_a_task_that_is_there(new, tmp_path):
    made, _ = new({f"{label}/{i}.png": None for label in ("a", "b") for i in range(6)}, "skin")
    assert {file: (tmp_path / file).read_text() for file in params.FILES} == {
        file: (REPOSITORY / file).read_text() for file in params.FILES
    }
    assert write(tmp_path, made.sections) == []


def test_words_that_may_stand_for_unknown_are_shown_and_asked(new):
    rows = pd.DataFrame(
        {
            "file": [f"{i}.png" for i in range(60)], "diagnosis": ["unknown", "nevus", "melanoma"] * 20,
            "therapy": ["none"] * 30 + ["laser"] * 20 + ["NA"] * 10,
        }
    )  # fmt: skip
    made, settings = new(dict.fromkeys(rows["file"]) | {"t.csv": rows.to_csv(index=False)})
    assert set(settings.tasks["retina"].classes) == {"unknown", "nevus", "melanoma"}
    assert settings.tasks["retina"].features["therapy"].values == ("laser", "none")
    report = "\n".join(made.report)
    assert "class unknown: 20 images" in report
    assert "choose: tasks.retina.classes: 'unknown' (20) count as classes; take out what stands for" in report
    assert "features.therapy: the column therapy holds 'none' (30), 'NA' (10); none and nil are taken for" in report
