"""What `make new` makes of archives that nobody has described."""

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from medpipe import params
from medpipe.data.archive import Archive
from medpipe.errors import InputError
from medpipe.planning.columns import classes
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

    def make(files, name="retina"):
        found = archive(files)
        made = plan(name, found, look(found), 10**8)
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
    assert (task.reader.kind, task.reader.sets, task.reader.group) == ("folders", "ignore", None)
    assert task.classes == ("a", "b")
    report = "\n".join(made.report)
    assert "choose: tasks.retina.reader.sets: folders of train, val or test are ignored" in report
    assert "leaks cannot be excluded" in report


def test_folders_of_patients_below_their_class(new):
    files = {f"{label}/{label}{p}/{i}.png": None for label in ("yes", "no") for p in range(8) for i in range(3)}
    made, settings = new(files)
    assert settings.tasks["retina"].reader.group.pattern == "([^/]+)/[^/]+$"
    assert "48 images of 16 groups" in "\n".join(made.report)


def test_pairs(new):
    mask = BytesIO()
    marked = Image.new("L", (96, 80))
    marked.putpixel((4, 4), 1)
    marked.save(mask, "PNG")
    files = {f"images/P{p}_{i}.png": None for p in range(10) for i in range(3)}
    files |= {f"masks/P{p}_{i}.png": mask.getvalue() for p in range(10) for i in range(3)}
    _, settings = new(files, "nerve")
    task = settings.tasks["nerve"]
    assert (task.reader.images, task.reader.masks, task.reader.suffix) == ("images", "masks", "")
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


def test_dicom_files_are_grouped_by_their_patients(archive):
    sample = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
    found = look(archive({f"{label}/{i}.dcm": sample + bytes(i) for label in ("a", "b") for i in range(6)}))
    assert (found.reader["kind"], found.reader["group"]) == ("folders", "dicom")


def test_a_column_that_tells_the_label_is_no_feature(new):
    rows = pd.DataFrame(
        {"file": [f"{i}.png" for i in range(40)], "label": ["x", "y"] * 20, "finding_code": ["17", "4"] * 20}
    )
    made, settings = new(dict.fromkeys(rows["file"]) | {"t.csv": rows.to_csv(index=False)})
    assert settings.tasks["retina"].features == {}
    assert "finding_code tells the label of 100% of the rows, so it is none" in "\n".join(made.report)
    assert "check: group: none found: leaks cannot be excluded" in "\n".join(made.report)


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
        look(archive({"a.txt": "x"}))
    with pytest.raises(InputError, match=r"1 images, but neither folders of classes, .* Images lie in: x \(1\)"):
        look(archive({"x/a.png": None}))


def test_a_section_of_the_name_stays_and_a_file_that_would_be_invalid_is_not_written(new, tmp_path):
    files = {f"{label}/{i}.png": None for label in ("a", "b") for i in range(6)}
    made, _ = new(files)
    path = tmp_path / "data.yaml"
    text = path.read_text().replace("task: retina\n", "task: retinal\n", 1)
    path.write_text(text)
    with pytest.raises(InputError, match="retinal"):
        write(tmp_path, made.sections)
    assert path.read_text() == text
