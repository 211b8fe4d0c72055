"""What the app says and shows, without a browser."""

import string
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from tiny_models import BLUE, RED, SIDE, picture

from medpipe.app import heat, look, models
from medpipe.app.answers import Answer, answer
from medpipe.app.drawings import drawings
from medpipe.app.memory import Memory
from medpipe.app.texts import LANGUAGES, TABLES, Speaker
from medpipe.app.vocabulary import both, full
from medpipe.params import load

NOBODY = {"age": None, "sex": None}

# Machado 2009 (doi 10.1109/TVCG.2009.113), severity 1: what the colour-blind see of linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.fixture(scope="module")
def served(registry):
    """The models of the registry, by their networks' names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(registry)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        found = models.choices()
        return found, {choice.network: models.load(choice.uri) for choice in found}


def test_every_text_is_there_in_every_language_with_the_same_places():
    assert set(TABLES) == set(LANGUAGES)
    for key in TABLES["en"] | TABLES["es"]:
        said = [TABLES[language][key] for language in LANGUAGES]
        places = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in said]
        assert all(place == places[0] for place in places), key
        assert all(said), key


def test_what_the_tasks_declare_has_a_name_in_full():
    for task in load().tasks.values():
        values = [value for feature in task.features.values() for value in getattr(feature, "values", ())]
        for name in (*task.classes, *task.features, *values):
            assert all(full(name, language) for language in LANGUAGES)
            assert full(name, "es") != name or name in ("abdomen", "genital"), name
    assert both("mel", "en") == "melanoma (mel)"
    assert both("Normal", "en") == "normal"
    assert both("stage <3>", "es") == "stage <3>"


def test_percent_is_written_as_the_language_does():
    assert (Speaker("en").percent(0.0625), Speaker("es").percent(0.0625)) == ("6.2 %", "6,2 %")


def test_levels_and_bars():
    assert [look.level(p) for p in (1.0, 2 / 3, 0.5, 1 / 3, 0.1, 0.0)] == [
        "high",
        "high",
        "medium",
        "medium",
        "low",
        "low",
    ]
    html = look.bars({"mel": 0.8, "<b>": 0.2}, Speaker("es"))
    assert "melanoma (mel)" in html
    assert "80,0 %</b> · alta" in html
    assert "&lt;b&gt;" in html
    assert "<b>20,0 %</b> · baja" in html
    assert html.index(look.COLOURS["high"]) < html.index(look.COLOURS["low"])


def lab(linear):
    """CIELAB of linear sRGB (IEC 61966-2-1, white D65)."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = to_xyz @ linear / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", [np.eye(3), *BLINDNESS.values()], ids=["all", *BLINDNESS])
def test_the_colour_blind_tell_the_levels_apart(seen):
    """By 30 in CIELAB and more, of which 2.3 is just noticeable."""
    places = []
    for colour in look.COLOURS.values():
        values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        places.append(lab(np.clip(np.array(seen) @ linear, 0, 1)))
    first, second, third = places
    assert min(np.linalg.norm(a - b) for a, b in ((first, second), (first, third), (second, third))) > 30


def test_the_champion_stands_before_newer_versions(served):
    found, loaded = served
    named = [(choice.registered, choice.number, choice.network, choice.champion) for choice in found]
    assert named == [
        ("brain-cascade", "1", "brain", False),
        ("skin-classifier", "1", "skin-early", True),
        ("skin-classifier", "2", "skin-late", False),
    ]
    assert models.rivals(found[1], found) == [found[2]]
    assert models.rivals(found[0], found) == []
    assert found[1].card == "# skin-early: model card"
    assert {name: type(feature).__name__ for name, feature in models.features([*loaded.values()]).items()} == {
        "age": "Number",
        "sex": "Category",
    }


def test_a_classifiers_answer(served):
    said = answer(served[1]["skin-early"], RED, NOBODY)
    p = 1 / (1 + np.exp(-2.55))  # the weights are such
    assert said.chances == pytest.approx({"mel": p, "nv": 1 - p}, abs=1e-6)
    assert [*said.chances] == ["mel", "nv"]
    assert (said.error, said.decision, said.possible, said.strange) == (None, "mel", ("mel",), False)
    older = answer(served[1]["skin-early"], RED, {"age": 100.0, "sex": "female"})
    assert older.chances["mel"] == pytest.approx(1 / (1 + np.exp(-4.55)), abs=1e-6)
    unlike = answer(served[1]["skin-early"], picture((0, 255, 0)), NOBODY)
    assert unlike.decision == "refer"
    assert set(unlike.possible) == {"mel", "nv"}
    assert unlike.strange


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (RED[:90], "image"),
        (b"", "empty file"),
        (b"text", "no image"),
        (picture((0, 0, 0), (6000, 5000)), "too many pixels"),
    ],
    ids=["cut", "empty", "text", "bomb"],
)
def test_a_file_that_cannot_be_read_has_an_error_and_nothing_else(served, data, told):
    said = answer(served[1]["skin-early"], data, NOBODY)
    assert told in said.error
    assert said == Answer(said.error)


def dicom(red):
    """A file of one colour, (red, 0, 0)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = SecondaryCaptureImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    file.Rows = file.Columns = 16
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PlanarConfiguration = 3, "RGB", 0
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = bytes([red, 0, 0]) * 256
    file.save_as(buffer := BytesIO(), enforce_file_format=True)
    return buffer.getvalue()


def test_every_format_has_the_same_answer(served):
    said = [picture((255, 0, 0), kind="PNG"), picture((255, 0, 0), kind="TIFF"), dicom(255)]
    first, *others = [answer(served[1]["skin-early"], data, NOBODY) for data in said]
    assert all(other == first for other in others)


def test_the_app_takes_larger_images_than_the_package_says(served):
    assert answer(served[1]["skin-early"], picture((255, 0, 0), (1100, 1000)), NOBODY).error is None


def half(size):
    """Red on the left, black on the right."""
    image = Image.new("RGB", size)
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))
    image.save(buffer := BytesIO(), "PNG")
    return buffer.getvalue()


def test_a_cascades_answer_and_what_is_laid_over_the_image(served):
    data = half((128, 64))
    said = answer(served[1]["brain"], data, {})
    assert [*said.chances] == ["tumour", "healthy"]
    assert sum(said.chances.values()) == pytest.approx(1)
    assert said.shares == {"tumour": pytest.approx(0.5)}
    pixels = look.shown(Image.open(BytesIO(data)))
    over = look.outlined(pixels, said.mask, 0.5)
    np.testing.assert_array_equal(over[:, 64:], pixels[:, 64:])
    np.testing.assert_array_equal(over[:, :64], np.broadcast_to([242, 80, 0], (64, 64, 3)))  # halfway to orange
    np.testing.assert_array_equal(look.outlined(pixels, said.mask, 0.0), pixels)
    assert answer(served[1]["brain"], BLUE, {}).shares == {}


def test_a_heat_map_shows_what_speaks_for_the_class(served):
    """Covering red with the mean takes red away; the other class of the cascade is the reverse."""
    pixels = look.shown(Image.open(BytesIO(half((96, 48)))))
    found = heat.explained(served[1]["brain"], pixels, {}, "tumour")
    assert found.shape == (48, 96)
    assert found[:, :40].mean() > found[:, 56:].mean() + 0.3
    other = heat.explained(served[1]["brain"], pixels, {}, "healthy")
    np.testing.assert_allclose(other, 1 - found, atol=1e-4)
    assert heat.explained(served[1]["skin-late"], pixels, NOBODY, "mel").max() == 1
    np.testing.assert_array_equal(look.heated(pixels, found, 0.0), pixels)
    assert look.heated(pixels, found[::2, ::2], 1.0).shape == pixels.shape


def test_images_are_shown_no_larger_than_a_page_is():
    assert look.shown(Image.new("RGB", (2000, 1000))).shape == (look.SHOWN // 2, look.SHOWN, 3)


@pytest.mark.parametrize("task", ["skin", "brain", "chest", "retina"])
def test_drawings_are_images_and_the_same_every_time(task):
    files = drawings(task)
    assert len(set(files)) == 3
    assert all(Image.open(BytesIO(file)).size >= (SIDE, SIDE) for file in files)
    assert drawings.__wrapped__(task) == files


def test_memory_forgets_what_a_run_did_not_ask_for():
    memory, made = Memory(), []
    for _ in range(2):
        assert memory.get("kept", lambda: made.append(1) or 7) == 7
        assert made == [1]
        memory.sweep()
    memory.sweep()
    assert "kept" not in memory


def test_the_app_does_without_a_training_backend():
    code = "import sys, medpipe.app.panel, medpipe.app.models, medpipe.app.drawings\n"
    code += "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
