"""studies.yaml: the file that ships can be run, and what cannot be is refused by its full key."""

import re
from pathlib import Path

import pytest
import yaml

from medpipe import params
from medpipe.errors import InputError
from medpipe.studies.plan import plan

SHIPPED = Path("studies.yaml")


def planned(tmp_path, change):
    values = {"chest": params.read_file(SHIPPED)["chest"]}
    change(values["chest"])
    path = tmp_path / "studies.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return plan("chest", params.load_studies(path)["chest"], params.read())


@pytest.mark.parametrize("name", params.load_studies(SHIPPED))
def test_every_study_that_ships_can_be_run(name):
    study = params.load_studies(SHIPPED)[name]
    experiments = plan(name, study, params.read())
    assert len({e.name for e in experiments}) == sum(len(study.seeds_of(row)) for row in study.rows)


def test_a_row_changes_its_own_model_and_further_seeds_come_last(tmp_path):
    experiments = planned(tmp_path, lambda s: s.update(repeats={"mobilenetv2": [7]}))
    assert experiments[-1].name == "chest-mobilenetv2-7"
    [focal] = [e for e in experiments if e.row == "convnet-focal"]
    before = params.read()
    assert focal.params["models"]["chest-convnet"]["loss"]["name"] == "focal"
    assert focal.params["seed"] == 42
    assert focal.params["models"] | {"chest-convnet": None} == before["models"] | {"chest-convnet": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("seeds"), "chest.seeds: missing"),
        (lambda s: s.update(rowz={}), "chest.rowz: unknown key"),
        (lambda s: s.update(baseline="gone"), "chest: baseline: 'gone' is none of rows: mobilenetv2,"),
        (lambda s: s.update(repeats={"gone": [1]}), "chest: repeats: 'gone' is none of rows"),
        (lambda s: s.update(controls={"mobilenetv2": "gone"}), "chest: controls: 'mobilenetv2': 'gone': one of them"),
        (lambda s: s.update(repeats={"mobilenetv2": [42]}), "chest: repeats.mobilenetv2: a seed stands twice"),
        (lambda s: s.update(scale="huge"), "chest.scale: 'huge' is none of scales: laptop"),
        (lambda s: s.update(metric="dice"), "chest.rows.mobilenetv2.model: chest-mobilenetv2 has no dice"),
        (
            lambda s: s["rows"]["mobilenetv2"].update(model="skin-b4"),
            "chest.rows.mobilenetv2.model: 'skin-b4' is no chest model",
        ),
        (
            lambda s: s["rows"]["mobilenetv2"].update(published={"acuracy": 0.5}),
            "chest.rows.mobilenetv2.published.acuracy",
        ),
        (
            lambda s: s["rows"]["mobilenetv2"].update(set={"los": None}),
            "studies.yaml: chest.rows.mobilenetv2.set: los: no such key",
        ),
        (
            lambda s: s["rows"]["mobilenetv2"].update(set={"lr": -1}),
            "studies.yaml: chest.rows.mobilenetv2.set: models.chest-mobilenetv2.lr: ",
        ),
        (
            lambda s: s["rows"]["mobilenetv2-weighted"].update(set={"merge": {"ill": ["COVID", "Lung_Opacity"]}}),
            "chest.rows.mobilenetv2-weighted: knows Normal, ill, other, but the baseline mobilenetv2 COVID",
        ),
    ],
)
def test_what_cannot_run_is_refused_by_its_full_key(tmp_path, change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        planned(tmp_path, change)
