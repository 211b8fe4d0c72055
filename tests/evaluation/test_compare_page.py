"""The page and the Markdown notes of made-up models' comparison, and the stage that writes them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from comparisons import BESIDE, GROUPED, SKILLS, classifier_report

from medpipe import params
from medpipe.evaluation.compare import compare
from medpipe.evaluation.markdown import markdown
from medpipe.evaluation.page import html
from medpipe.evaluation.wording import bounded
from medpipe.params import Compare

REPOSITORY = Path(__file__).parents[2]


def test_calibration_and_decisions_stand_on_the_page(brain):
    section = brain[1]["classification"]
    assert set(section["calibration"]) == {"brain-classifier", "brain-cascade"}
    assert set(section["decisions"]) == {"brain-classifier"}
    found = section["decisions"]["brain-classifier"]
    assert "tumour from 0.4 on" in html(brain[1], [])
    assert f"| brain-classifier | tumour from 0.4 on | {bounded(found['sensitivity'])} |" in markdown(brain[1])


def test_operating_points_stand_on_the_page(brain):
    section = brain[1]["classification"]
    assert [point["threshold"] for point in section["operating_points"]["brain-cascade"]] == [0.5, 0.3, 0.05]
    assert html(brain[1], []).count("its own") == 2
    assert "| brain-cascade | 0.3 (its own) |" in markdown(brain[1])


def test_what_has_no_valid_interval_is_said_on_the_page(classifier_table, settings):
    """Of the 20 test rows, each class but nv and mel has a row or two."""
    tables = {name: classifier_table(skill, i, rows=40) for i, (name, skill) in enumerate(SKILLS.items())}
    wanted = Compare(models=tuple(tables), metric="macro_f1", margin=0.02, merge={})
    found = compare(tables, dict.fromkeys(tables, classifier_report()), GROUPED, wanted, settings, 1)
    first = found["classification"]["models"][0]["metrics"]["macro_f1"]
    assert (first["low"], first["high"]) == (None, None)
    assert "an interval needs" in first["why"]
    for text in (html({"task": "skin"} | BESIDE | found, []), markdown({"task": "skin"} | BESIDE | found)):
        assert "no valid interval" in text
        assert first["why"] in text


@pytest.mark.parametrize("task", ["skin", "brain"])
def test_page_is_whole_and_loads_nothing(task, request):
    tables, comparison = request.getfixturevalue(task)
    json.dumps(comparison, allow_nan=False)
    text, notes = html(comparison, []), markdown(comparison)
    for name in tables:
        assert name in text
        assert name in notes
    assert not re.search(r"https?://|src=|href=(?!\"exploration\.html)|@import|url\(", text)
    assert "nan" not in re.sub(r"<[^>]*>", " ", text).lower().split()
    assert ("inflated" in text) == ("inflated" in notes) == (task == "brain")  # split by image
    assert text == html(comparison, [])


def test_names_are_escaped(skin):
    text = json.dumps(skin[1]).replace("skin-b4", "<b>|")
    found = json.loads(text)
    assert "<b>|" not in html(found, [])
    assert "<b>\\|" in markdown(found)


COPIES = {"share": 0.05, "low": 0.02, "high": 0.1, "expected": 0.05}
DRAWN = {
    "name": "skin-sagan",
    "report": {
        "features": "random convolutions", "side": 48, "training_images": 628,
        "all": {"images": 139, "generated": {"fid": 0.2374}, "floor": {"fid": 0.068}},
        "memorised": {"pixels": COPIES, "features": COPIES, "limit": 0.2},
    },
    "pictures": [{"caption": "After step 60", "jpeg": "bm8="}],
}  # fmt: skip
ERRORS = [{"id": "ISIC_0000001", "truth": "mel", "said": "nv", "probability": 0.99, "jpeg": "aGk="}]


def test_stage_writes_the_three_files(skin, tmp_path):
    tables, _ = skin
    values = params.read(REPOSITORY)
    for section in ("models", "fusions"):
        values[section] = {k: v for k, v in values[section].items() if v["task"] != "skin" or k in tables}
    values["compare"]["skin"]["models"] = list(tables)
    values["generators"] = {"skin-sagan": values["generators"]["skin-sagan"]}
    values["evaluate"]["resamples"] = 50
    params.write(tmp_path, values)
    shutil.copy(REPOSITORY / "studies.yaml", tmp_path)
    for folder in ("predictions/skin", "reports/skin/models", "metrics/skin"):
        (tmp_path / folder).mkdir(parents=True)
    for name, table in tables.items():
        table.to_parquet(tmp_path / f"predictions/skin/{name}.parquet")
        (tmp_path / f"predictions/skin/{name}.json").write_text(json.dumps(ERRORS))
        (tmp_path / f"reports/skin/models/{name}.json").write_text(json.dumps(classifier_report()))
    (tmp_path / "predictions/skin/skin-sagan.json").write_text(json.dumps(DRAWN))
    removed = [tmp_path / name for name in ("predictions/skin/skin-old.parquet", "metrics/skin/skin-old.json")]
    for path in removed:
        path.write_text("of a model that is no more")
    (tmp_path / "reports/skin/split.json").write_text(json.dumps(GROUPED))

    def run():
        command = [sys.executable, str(REPOSITORY / "stages/compare.py"), "skin"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stderr
    comparison = json.loads((tmp_path / "reports/skin/comparison.json").read_text())
    assert comparison["best"] == "skin-v2m"
    assert comparison["published"]["skin-b4"]["f1:mel"] == 0.49
    assert "**skin-v2m**" in (tmp_path / "reports/skin/comparison.md").read_text()
    page = (tmp_path / "reports/skin/comparison.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "data:image/jpeg;base64,aGk=" in page
    assert "<strong>said nv</strong>, probability 0.99<br>true: mel" in page
    assert '"generated"><span>0.237</span></td><td data-label="real (floor)"><span>0.068</span>' in page
    assert '<figcaption>After step 60</figcaption><img alt="After step 60" src="data:image/jpeg;base64,bm8="' in page
    assert not any(path.exists() for path in removed)

    shutil.rmtree(tmp_path / "predictions")
    failed = run()
    assert failed.returncode == 1
    assert "predictions/skin/skin-tabular.parquet: not found" in failed.stderr
