"""What `make new` proposes for the tables of public data sets, and what it asks where several things may be meant."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import table_layouts as layouts
import yaml

from medpipe.data.archive import Archive
from medpipe.errors import InputError
from medpipe.params import Declaration
from medpipe.planning.found import Asked
from medpipe.planning.look import look
from medpipe.planning.plan import plan
from medpipe.planning.write import check_name

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def planned(tmp_path):
    """planned(files, "LABEL=dx"): the task, and the report."""

    def make(files, *arguments):
        for name, data in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
        archive, asked = Archive(tmp_path), Asked.parse(arguments)
        made = plan("t", archive, look(archive, asked), 10**6, asked.split)
        task = Declaration.model_validate(yaml.safe_load("\n".join(["tasks:", *made.sections["tasks"]]))["tasks"]["t"])
        return task, "\n".join([*made.report, *made.sections["split"]])

    return make


@pytest.mark.parametrize(
    ("layout", "arguments", "file", "label", "classes"),
    [
        (layouts.retinopathy, (), "train.csv", "diagnosis", {"0", "1", "2", "3", "4"}),
        (layouts.names_below_a_folder, (), "meta/meta.csv", "diagnosis", {"a", "b"}),
        (layouts.ages_that_name_images, (), "t.csv", "label", {"a", "b"}),
        (layouts.parts, (), "metadata.csv", "diagnostic", {"ACK", "BCC", "MEL"}),
        (layouts.two_labels, ("LABEL=grade",), "t.csv", "grade", {"low", "high"}),
        (layouts.two_photographs, ("IMAGE=derm",), "meta.csv", "diagnosis", {"nevus", "melanoma", "bcc"}),
        (layouts.eyes, ("LABEL=D",), "eyes.csv", "D", {"0", "1"}),
        (layouts.masks_in_a_column, (), "scans.csv", None, {"unmarked", "marked"}),
    ],
)
def test_a_label_that_is_clear_or_asked_for_is_taken(planned, layout, arguments, file, label, classes):
    task, report = planned(layout(), *arguments)
    assert (task.reader.kind, task.reader.file, task.reader.label) == ("table", file, label)
    assert set(task.classes) == classes
    assert (task.kind, task.reader.mask) == (("both", "outline") if label is None else ("classify", None))
    if arguments:
        assert f"the column {label}" in report


def test_patients_of_parts_and_no_nearly_empty_case_are_groups(planned):
    assert planned(layouts.parts())[0].reader.group.column == "patient_id"


def test_a_nearly_empty_column_names_no_patients(planned):
    assert planned(layouts.two_photographs(), "IMAGE=derm")[0].reader.group is None


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (layouts.chest_findings, r"Finding Labels \(several a cell: Mass 54, Effusion 36, .*No Finding 18.*LABEL="),
        (layouts.eyes, r"a row has several findings, a column each: .*D \d+.*LABEL=<column>"),
        (layouts.bone_age, r"boneage \(50 different numbers\) holds numbers.*column of ranges"),
        (layouts.two_labels, r"LABEL=<column>, one of: diagnosis \(.*nevus 20.*\); grade \(.*low 30"),
        (layouts.two_photographs, "2 columns name images; .* Say IMAGE=clinic, IMAGE=derm"),
        (layouts.boxes, r"several rows an image in its column file, such as of boxes \(xmin, ymin\)"),
        (layouts.yolo, "YOLO's boxes, which no task learns"),
        (layouts.coco, "COCO's JSON marks boxes"),
    ],
)
def test_what_is_not_clear_or_cannot_be_learnt_is_asked_or_refused_by_name(planned, layout, said):
    with pytest.raises(InputError, match=said):
        planned(layout())


def test_groups_kind_and_split_as_asked_for(planned):
    task, report = planned(layouts.parts(), "GROUP=lesion_id", "SPLIT=image")
    assert task.reader.group.column == "lesion_id"
    assert "    by: image" in report
    task, _ = planned(layouts.parts(), r"GROUP=(PAT_\d+)_")
    assert task.reader.group.pattern == r"(PAT_\d+)_"
    assert planned(layouts.masks_in_a_column(), "KIND=segment")[0].kind == "segment"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["LABEL=dx"], "LABEL=dx: t.csv has no column 'dx'; it has file, diagnosis, grade"),
        (["LABEL=file"], "LABEL=file: 2 to 30 classes wanted; it has 60 values"),
        (["IMAGE=dx"], "IMAGE=dx: no table of .* has such a column"),
        (["GROUP=((("], r"tasks\.t\.reader\.group.* is no regular expression"),
        (["SPLIT=given"], "SPLIT=given: .* names no sets by folders of train, val and test; say group or image"),
        (["GROUP=dx"], "GROUP=dx: a column of the table that names images, dicom, study or a pattern"),
        (["KIND=segment", "LABEL=grade"], "KIND=segment: no masks were found"),
        (["KIND=cluster"], "KIND=cluster: one of classify, segment, both wanted"),
        (["COLOUR=red"], "'COLOUR=red' is none of KIND=, LABEL=, IMAGE=, MASK=, GROUP=, SPLIT="),
    ],
)
def test_what_is_asked_for_and_not_there_is_said(planned, arguments, said):
    given = arguments if any("LABEL" in argument for argument in arguments) else [*arguments, "LABEL=grade"]
    with pytest.raises(InputError, match=said):
        planned(layouts.two_labels(), *given)


def test_blanks_numbers_without_end_and_words_of_yaml_are_no_trouble(planned):
    names = [f"n{i}.png" for i in range(60)]
    rows = {" grade ": ["low", "high"] * 30, "dose": [*np.arange(59) / 7, np.inf], "yes": ["f", "m", "f"] * 20}
    task, _ = planned(layouts.pictures(names) | layouts.table("t.csv", file=names, **rows), "LABEL= grade ")
    assert set(task.classes) == {"low", "high"}
    assert task.features["dose"].range == (0, 9)
    assert task.features["yes"].values == ("f", "m")


def test_the_labels_of_a_sample_submission_are_none(planned):
    files = layouts.retinopathy()
    with pytest.raises(InputError, match="neither folders of classes, a table that names them, nor masks"):
        planned({name: data for name, data in files.items() if name not in ("train.csv", "a_test.csv")})


@pytest.mark.parametrize("name", ["yes", "null", "1e5", "12", "a.b", "a/b", "../a", "-a", "a b", "", "2026-01-01", "ä"])
def test_a_name_that_yaml_or_dvc_cannot_bear_is_refused(name):
    with pytest.raises(InputError, match="letters, digits"):
        check_name(name)


def test_what_is_refused_is_one_line_and_no_traceback(tmp_path):
    (tmp_path / "notes.npz").write_bytes(b"PK")
    command = [sys.executable, REPOSITORY / "stages/new.py", "eyes", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("nothing was written: ")
    assert line.endswith(".npz and .npy hold arrays: save each image as PNG in a folder of its class")


def test_a_table_that_is_not_used_is_named_with_the_reason(planned):
    draw = layouts.Drawing()
    files = {f"{label}/{i}.png": draw.image() for label in "ab" for i in range(12)}
    _, report = planned(files | layouts.table("doses.csv", drug=["x", "y"], dose=np.arange(2)))
    assert "check: tables: not used: doses.csv (no column names images)" in report
