"""What `make new` proposes for the layouts of public data sets that are folders, or images with masks."""

import layouts
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medpipe.data.archive import Archive
from medpipe.data.ingest import build_manifest
from medpipe.errors import InputError
from medpipe.params import Declaration, Ingest
from medpipe.planning.found import Asked
from medpipe.planning.levels import are_classes
from medpipe.planning.look import look
from medpipe.planning.plan import plan

MARKED = ["unmarked", "marked"]
ONE = {"marked": [255]}


@pytest.fixture
def archive(tmp_path):
    def make(files):
        for name, data in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
        return Archive(tmp_path)

    return make


@pytest.fixture
def planned(archive):
    """planned(files): the task, the report with the lines of the split, and what ingest makes of the task."""

    def make(files):
        there = archive(files)
        made = plan("t", there, look(there, Asked()), 10**6, None)
        task = Declaration.model_validate(yaml.safe_load("\n".join(["tasks:", *made.sections["tasks"]]))["tasks"]["t"])
        report = "\n".join([*made.report, *made.sections["split"]])
        return task, report, build_manifest("t", task, Ingest(max_quarantined=0.2, max_pixels=10**6))

    return make


# Of each layout of images and masks: how many images or slices, classes, what masks mark, the split, and what is said.
PAIRS = {
    layouts.pairs_by_set: (24, MARKED, ONE, "given", ["own sets are kept: train 12, val 6, test 6"]),
    layouts.pairs_with_sets_below: (24, MARKED, ONE, "given", ["own sets are kept: train 12, val 6, test 6"]),
    layouts.kvasir: (20, MARKED, ONE, "group", []),
    layouts.isic2018: (22, MARKED, ONE, "given", ["own sets are kept: train 12, val 4, test 6"]),
    layouts.nnunet: (
        32, MARKED, {"Anterior": [1], "Posterior": [2]}, "group",
        ["files whose names end in '_0000' are read; others end in '_0001'", "dataset.json names what masks mark"],
    ),
    layouts.decathlon: (32, MARKED, {"Anterior": [1], "Posterior": [2]}, "group", []),
    layouts.cvc: (12, MARKED, ONE, "group", []),
    layouts.busi: (
        30, ["benign", "malignant", "normal"], ONE, "group",
        ["some images have several masks, 1 more in all, which are united", "folders are taken for the classes of"],
    ),
    layouts.brats: (
        32, MARKED, {"value_1": [1], "value_2": [2], "value_4": [4]}, "group",
        ["files whose names end in '_flair' are read; others end in '_t1', '_t1ce', '_t2'", "hold several values"],
    ),
    layouts.drive: (
        16, MARKED, ONE, "given",
        ["the masks in '1st_manual' were taken; there are some in 'mask' too", "train 8, test 8; validation is dealt"],
    ),
    layouts.chase: (
        28, MARKED, ONE, "group", ["14 groups such as 01 (Image_01L.jpg)", "end in '_1stHO' are read; others end in"],
    ),
    layouts.one_bit: (12, MARKED, ONE, "group", []),
    layouts.voc: (
        12, MARKED, {"polyp": ["#800000"], "forceps": ["#008000"], "background": ["#e0e0c0"]}, "group",
        ["class_names.txt names what masks mark"],
    ),
    layouts.coloured: (
        12, MARKED, {"background": [127], "Liver": ["#ff7272"], "Fat": ["#bab74b"]}, "group",
        ["class_dict.csv names what masks mark", "6 groups such as video00"],
    ),
    layouts.zero_one: (12, MARKED, {"marked": [1]}, "group", []),
}  # fmt: skip


@pytest.mark.parametrize("layout", PAIRS, ids=lambda layout: layout.__name__)
def test_images_with_masks(planned, layout):
    images, classes, values, by, said = PAIRS[layout]
    task, report, ingested = planned(layout(layouts.Drawing()))
    assert (task.reader.kind, task.kind, sorted(task.classes)) == ("pairs", "both", sorted(classes))
    assert task.mask_values == {name: tuple(some) for name, some in values.items()}
    assert f"t: {images} images of " in report
    assert f"by: {by}\n" in report
    assert (len(ingested.manifest), len(ingested.quarantine)) == (images, 0)
    assert not [words for words in said if words not in report]


# Of each layout of folders: the classes, images, groups, the split, and what is said.
FOLDERS = {
    layouts.breakhis: (
        ["benign", "malignant"], 48, 12, "group",
        ["2 other folders may be the classes: adenoma (24), ductal_carcinoma (24)", "12 groups such as SOB_B_A_14"],
    ),
    layouts.stray: (
        ["NORMAL", "PNEUMONIA"], 200, 50, "group",
        ["50 groups such as N000", "reader.ungrouped: 8 images have no group", "loss.png: no folder of a class"],
    ),
    layouts.kermany: (
        ["NORMAL", "PNEUMONIA"], 72, 44, "given",
        ["6 of 24 test images are of a patient or lesion that trains too; `group` deals all rows again"],
    ),
    layouts.cells: (["Parasitized", "Uninfected"], 96, 19, "group", ["19 groups such as P33 ("]),
    layouts.eyes: (["glaucoma", "healthy"], 48, 24, "group", ["24 groups such as 000 (", "2 to 2 images each"]),
    layouts.parts: (["keratosis", "nevus"], 60, 60, "group", []),
    layouts.brain_sets: (
        ["glioma", "meningioma", "notumor", "pituitary"], 64, 64, "given", ["train 48, test 16; validation is"],
    ),
    layouts.bitmaps: (["benign", "malignant"], 24, 24, "group", []),
}  # fmt: skip


@pytest.mark.parametrize("layout", FOLDERS, ids=lambda layout: layout.__name__)
def test_folders_of_classes(planned, layout):
    classes, images, groups, by, said = FOLDERS[layout]
    task, report, ingested = planned(layout(layouts.Drawing()))
    assert (task.reader.kind, task.kind, sorted(task.classes)) == ("folders", "classify", classes)
    assert len(ingested.manifest) == images
    assert f"t: {images} images of {groups} groups" in report
    assert f"by: {by}\n" in report
    assert not [words for words in said if words not in report]


@pytest.mark.parametrize("layout", [layouts.parts_alone, layouts.patients_alone], ids=lambda layout: layout.__name__)
def test_folders_of_parts_or_patients_alone_are_no_classes(planned, layout):
    with pytest.raises(InputError, match="neither folders of classes, a table that names them, nor masks"):
        planned(layout(layouts.Drawing()))


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (["0", "1", "2", "3", "4"], True), (["grade1", "grade2"], True), (["BI-RADS 2", "BI-RADS 4"], True),
        (["G1", "G2", "G3"], True), (["a", "b2"], True), (["40X", "100X"], False), (["part 1", "part 2"], False),
        (["P1", "P2"], False), (["TCGA_CS_4941", "TCGA_CS_4942"], False), (["train", "nevus"], False), (["a"], False),
    ],
)  # fmt: skip
def test_what_folders_may_be_classes(names, answer):
    assert are_classes(pd.Series(names * 10)) is answer


def test_sets_that_lack_a_class_are_dealt_again_and_this_is_said(planned):
    draw = layouts.Drawing()
    files = {f"{part}/{label}/{part}{label}{i}.png": draw.image() for part in ("train", "test") for label in "ab"
             for i in range(6) if (part, label) != ("test", "b")}  # fmt: skip
    _, report, _ = planned(files)
    assert "by: group\n" in report
    assert "all rows are dealt again, for the archive's own sets (train 12, test 6) lack b in test" in report


def test_masks_that_cannot_be_read_are_refused_by_their_own_reason(archive):
    draw = layouts.Drawing()
    transparent = Image.new("RGBA", (layouts.SIDE, layouts.SIDE), (0, 0, 0, 0))
    files = {f"images/{i}.png": draw.image() for i in range(12)}
    masks = {f"masks/{i}.png": layouts.encoded(transparent) for i in range(12)}
    with pytest.raises(InputError, match=r"no mask can be read of 12 .*; masks/0\.png: transparent: an opaque image"):
        look(archive(files | masks), Asked())
    found = look(archive(files | masks | {f"masks/{i}.png": draw.mask() for i in range(1, 12)}), Asked())
    assert "1 of 12 masks are refused; masks/0.png: transparent" in "; ".join(found.questions)


def test_masks_of_many_greys_mark_from_the_middle_on_and_of_many_colours_need_a_table(archive):
    draw = layouts.Drawing()
    smooth = Image.fromarray(np.linspace(0, 255, layouts.SIDE**2).astype(np.uint8).reshape(layouts.SIDE, -1))
    files = {f"images/{i}.png": draw.image() for i in range(12)}
    found = look(archive(files | {f"masks/{i}.png": layouts.encoded(smooth) for i in range(12)}), Asked())
    assert found.mask_values == {"marked": [*range(128, 256)], "background": [*range(1, 128)]}
    assert "masks hold 255 greys, as smoothed ones do; 128 and more mark" in "; ".join(found.questions)
    with pytest.raises(InputError, match=r"masks hold \d+ colours, such as #.*, which no table of the archive names"):
        look(archive({f"masks/{i}.png": draw.image() for i in range(12)}), Asked())
