"""What a comparison's page says first, its curves, its tables on a narrow screen, the pictures of worst errors."""

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from comparisons import BESIDE
from declared import TASKS

from medpipe.evaluation import mistakes, page_tables
from medpipe.evaluation.compare import compare
from medpipe.evaluation.curves import GRID, curves
from medpipe.evaluation.mask_plots import Example
from medpipe.evaluation.metrics import classification_metrics
from medpipe.evaluation.page import html
from medpipe.evaluation.predictions import classified
from medpipe.evaluation.summary import summary
from medpipe.evaluation.wording import bounded, bounds, signed
from medpipe.params import Compare

SKIN = TASKS["skin"].classes
SKILLS = {"skin-tabular": 0.2, "skin-b4": 0.9, "skin-v2m": 1.4}
SPLIT = {"by": "group", "grouping": "", "leak": {}}
REPORT = {
    "kind": "classification", "classes": list(SKIN), "training": {"nv": 5}, "only": None, "shift": None, "ood": None,
    "sets": {"test": {"subgroups": {}}},
}  # fmt: skip


@pytest.fixture
def tables(classifier_table):
    return {name: classifier_table(skill, i) for i, (name, skill) in enumerate(SKILLS.items())}


def compared(tables, settings):
    wanted = Compare(models=tuple(tables), metric="macro_f1", margin=0.02, merge={})
    beside = {"task": "skin"} | BESIDE | {"runs": {"skin-v2m": "r2"}}
    return beside | compare(tables, dict.fromkeys(tables, REPORT), SPLIT, wanted, settings, 1)


def test_images_without_a_patient_are_said_to_be_grouped_by_image(tables, settings):
    grouping = "3 of 9 images are grouped by image: the same patient may be on both sides"
    comparison = compared(tables, settings) | {"grouping": grouping}
    assert f" {grouping}." in said(comparison)["How sure?"][1]
    assert f"<strong>{grouping}.</strong>" in html(comparison, [])
    assert "by image" not in html(compared(tables, settings), [])


def said(comparison):
    return {question: (short, " ".join(sentences)) for question, short, sentences in summary(comparison)}


def test_the_summary_names_the_best_its_interval_and_its_differences(tables, settings):
    comparison = compared(tables, settings)
    first, second, _ = comparison["classification"]["models"]
    found = said(comparison)
    assert found["Which model?"][0] == "skin-v2m"
    assert found["How sure?"][0] == f"Macro F1 {bounded(first['metrics']['macro_f1'])}"
    base = first["vs_baseline"]
    assert found["By how much?"][0] == f"{signed(base['difference'])} against the baseline"
    words = found["By how much?"][1]
    assert f"Against the baseline, skin-tabular: {signed(base['difference'])} {bounds(base)}; p" in words
    assert f"Against the runner-up, skin-b4: {signed(-second['vs_best']['difference'])} [" in words
    assert ": a difference is shown" in words
    assert "Shortcuts: no probes were run." in found["For whom not?"][1]


def test_the_summary_claims_no_difference_that_no_test_shows(classifier_table, settings):
    tables = {name: classifier_table(1, 0) for name in "ab"}
    found = said(compared(tables, settings))["By how much?"][1]
    assert "no difference is shown" in found
    assert "a difference is shown" not in found


def test_the_summary_says_why_there_is_no_interval_and_what_refuses(classifier_table, settings):
    tables = {name: classifier_table(skill, i, rows=40) for i, (name, skill) in enumerate(SKILLS.items())}
    refused = {"condition": "calibrated", "why": "0.3, of 0.1 allowed", "met": False, "key": "max_calibration_error"}
    probes = {"model": "skin-b4", "run": "r1", "alarm": True}
    found = said(compared(tables, settings) | {"gate": [refused], "probes": probes})
    assert "No valid interval: " in found["How sure?"][1]
    assert "an interval needs" in found["How sure?"][1]
    assert "The gate refuses it: calibrated: 0.3, of 0.1 allowed (max_calibration_error)." in found["For whom not?"][1]
    assert (
        "the probes were run on skin-b4, not on this model; of that they raise an alarm." in found["For whom not?"][1]
    )


def test_curves_have_their_ends_and_the_measured_areas(tables):
    p = classified("m", tables["skin-b4"], SKIN)
    found = curves({"m": p})
    one = found["models"]["m"]
    assert found["of"] == "macro"
    assert len(one["roc"]) == len(one["precision_recall"]) == len(found["at"]) == len(GRID)
    assert one["roc"] == sorted(one["roc"])
    assert one["roc"][-1] == 1
    metrics = classification_metrics(p)
    assert np.trapezoid(one["roc"], GRID) == pytest.approx(metrics["roc_auc"], abs=0.02)
    assert np.mean(one["precision_recall"]) == pytest.approx(metrics["average_precision"], abs=0.02)
    assert sum(rows for _, _, rows in one["reliability"]) == len(p.truth)


def test_curves_of_two_classes_by_hand(classifier_table):
    table = classifier_table(rows=4, classes=("no", "yes"), shares=(0.5, 0.5))
    table = table.assign(label=["yes", "no", "yes", "no"], p_yes=[0.9, 0.8, 0.7, 0.1]).assign(
        p_no=lambda t: 1 - t.p_yes
    )
    found = curves({"m": classified("m", table, ("no", "yes"))})
    one = found["models"]["m"]
    assert found["of"] == "yes"
    assert [one["roc"][i] for i in (0, 24, 25, 50)] == [0.5, 0.5, 1, 1]
    assert [one["precision_recall"][i] for i in (0, 25, 26, 50)] == [1, 1, 0.6667, 0.6667]


def test_ours_stand_beside_what_was_published(tables, settings):
    comparison = compared(tables, settings) | {"published": {"skin-b4": {"f1:mel": 0.49, "accuracy@0.05": 0.9}}}
    [table] = page_tables.published(comparison["classification"], comparison["published"])
    ours = comparison["classification"]["models"][1]["per_class"]["mel"]["f1"]["value"]
    assert (table.head, table.rows) == (["of", "F1"], [["mel", f"0.490 → {ours:.3f} ({signed(ours - 0.49)})"]])
    assert "skin-b4 beside what was published" in html(comparison, [])


class Tables(HTMLParser):
    """The class of each table, and the tables with a cell that does not say its column."""

    def __init__(self):
        super().__init__()
        self.classes, self.silent = [], set()

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.classes.append(dict(attrs).get("class"))
        elif tag == "td" and self.classes[-1] != "matrix" and not dict(attrs).get("data-label"):
            self.silent.add(len(self.classes))


def test_every_table_fits_a_narrow_screen(tables, settings):
    text = html(compared(tables, settings), [])
    found = Tables()
    found.feed(text)
    assert set(found.classes) == {"list", "many", "matrix"}
    assert not found.silent
    for kind in ("list", "many"):
        assert f".{kind} td::before" in text
    assert not re.search("overflow-x|min-width: [5-9][0-9]{2}", text)
    words = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not {"None", "nan", "undefined", "Undefined"} & set(re.findall(r"\w+", words))


def decoded(error):
    return cv2.imdecode(np.frombuffer(base64.b64decode(error["jpeg"]), np.uint8), cv2.IMREAD_COLOR)


def test_the_surest_errors_come_first(classifier_table):
    table = classifier_table(0.5)
    image = np.full((120, 192, 3), (200, 30, 30), np.uint8)
    asked = []

    def explain(ids, said):
        asked.extend(zip(ids, said, strict=True))
        return np.repeat(np.linspace(0, 1, 192)[None, None, :], len(ids), 0).repeat(120, 1)

    errors = mistakes.of_classes(table, SKIN, lambda identifier: image, explain)
    assert asked == [(error["id"], SKIN.index(error["said"])) for error in errors]
    test = table[table["set"] == "test"]
    chances = test[[f"p_{name}" for name in SKIN]].to_numpy()
    wrong = np.array(SKIN)[chances.argmax(axis=1)] != test["label"]
    assert [error["probability"] for error in errors] == pytest.approx(
        np.sort(chances.max(axis=1)[wrong])[:-13:-1], abs=1e-4
    )
    assert all(error["truth"] != error["said"] for error in errors)
    picture = decoded(errors[0]).astype(int)  # blue, green, red; at the right the map
    assert picture.shape == (60, 192, 3)
    assert picture[30, 48, 2] > 180 > 60 > picture[30, 48, 0]  # red stays red
    assert picture[30, 186, 1] > picture[30, 102, 1] + 80  # from violet to yellow


def test_the_worst_slices_have_no_overlap(mask_table):
    table = mask_table()
    blank = np.zeros((32, 32), np.uint8)
    example = lambda identifier: Example(identifier, np.zeros((32, 32, 3), np.uint8), blank + 1, blank)  # noqa: E731
    errors = mistakes.of_masks(table, example, several=False)
    test = table[(table["set"] == "test") & (table["fp"] + table["fn"] > 0)]
    assert [error["dice"] for error in errors] == [0] * mistakes.PICTURES_OF_MASKS
    assert errors[0]["missed"] + errors[0]["false"] == (test[test["tp"] == 0][["fp", "fn"]].sum(axis=1)).max()
    assert decoded(errors[0]).shape == (32, 64, 3)
