"""The stage itself, on a small phantom of each task."""

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

from medpipe import tracking
from medpipe.exploration.publish import key
from medpipe.params import read, write
from medpipe.registry.restore import restore

REPOSITORY = Path(__file__).parents[2]
PHANTOMS = {
    "skin": {"seed": 1, "lesions": 60, "external": 3},
    "brain": {"seed": 2, "patients": 8, "slices": 6, "size": 64},
    "chest": {"seed": 3, "images": 60, "size": 64},
}
ALWAYS = {"classes", "balance", "images", "channels"}
PLOTS = {
    "skin": {"number_age", "by_dx_type", "by_sex", "by_age_band", "by_localization", "by_source"},
    "brain": {"number_slice", "by_site", "masks", "mask_area"},
    "chest": {"by_source", "equalised"},
}


def stage(name, task):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "stages")
        runpy.run_path(str(REPOSITORY / f"stages/{name}.py"))["main"](task)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def explorations(task):
    client = tracking.connect()
    found = client.search_runs([client.get_experiment_by_name(task).experiment_id])
    return [(client, run) for run in found if run.info.run_name == "exploration"]


def test_other_facts_or_settings_are_another_run():
    keys = {key("skin", {"sample": n}, {"rows": rows}) for n in (1, 2) for rows in (1, 2)}
    assert len(keys | {key("skin", {"sample": 1}, {"rows": 1}), key("brain", {"sample": 1}, {"rows": 1})}) == 5


def split(task):
    """The task's phantom down to its split, in the current directory; its values."""
    values = read(REPOSITORY)
    values["phantom"] = PHANTOMS
    values["split"][task] |= {"train": 0.5, "val": 0.25, "test": 0.25}
    write(Path(), values)
    for name in ("phantom", "ingest", "clean", "split"):
        stage(name, task)
    return values


@pytest.mark.parametrize("task", ["skin", "brain", "chest"])
def test_a_task_is_explored(task, root, capsys):
    split(task)
    dealt = capsys.readouterr().out.splitlines()[-1]
    rows = pd.read_parquet(f"data/split/{task}/rows.parquet")
    clean = pd.read_parquet(f"data/clean/{task}.parquet").set_index("id")
    train = rows["set"] == "train"
    for id_ in rows.loc[~train, "id"]:  # no image is opened but those that train
        (root / "data/phantom" / task / clean["path"][id_]).unlink()

    stage("explore", task)
    report, plots = root / "reports" / task, root / "plots" / task / "exploration"
    facts = json.loads((report / "exploration.json").read_text())
    assert sum(sum(sets.values()) for sets in facts["rows"].values()) == len(rows)
    assert {label: sets["train"] for label, sets in facts["rows"].items() if sets["train"]} == (
        rows.loc[train, "label"].value_counts().to_dict()
    )
    assert facts["channels"]["images"] == train.sum()
    if task == "brain":
        assert facts["masks"]["marked"] == facts["rows"]["tumour"]["train"]
    assert {path.stem for path in plots.iterdir()} == ALWAYS | PLOTS[task]

    page = (report / "exploration.html").read_text()
    assert page.count("<figure>") == page.count("data:image/png;base64,") == len(files(plots))
    assert "http" not in page
    by_image = "rouped by image: the same patient may be on both sides"  # of chest X-rays no patient is known
    assert (by_image in page) == (by_image in dealt) == ("leak" not in dealt) == (task == "chest")
    for label in facts["rows"]:
        assert f'<th scope="row">{label}</th>' in page


def test_the_same_facts_are_the_same_run(root, new_root):
    task, values = "brain", split("brain")
    stage("explore", task)
    report, plots = root / "reports" / task, root / "plots" / task / "exploration"
    before = files(plots), files(report)
    stage("explore", task)
    assert (files(plots), files(report)) == before
    [(client, run)] = explorations(task)
    assert run.info.status == "FINISHED"
    train = pd.read_parquet(f"data/split/{task}/rows.parquet")["set"] == "train"
    assert run.data.metrics["rows/train"] == train.sum()
    assert run.data.params["images_a_class"] == str(values["explore"]["images_a_class"])
    assert len(client.get_metric_history(run.info.run_id, "rows/train")) == 1
    logged = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "report")}
    assert logged == {"report/exploration.json", "report/exploration.html"}
    assert len(client.list_artifacts(run.info.run_id, "plots")) == len(files(plots))

    new_root("clone")
    assert list(restore(root, 89_000_000)) == [f"{task}: exploration"]
    [(_, again)] = explorations(task)
    found, expected = (
        {name: value for name, value in side.data.metrics.items() if not name.startswith("system/")}
        for side in (again, run)
    )
    assert found == expected
    assert again.data.tags["medpipe.run"] == run.data.tags["medpipe.run"]
