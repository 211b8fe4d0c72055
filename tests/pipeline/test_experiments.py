"""Experiments, a search and a study, as DVC runs them in copies of the repository, and the links that copies hold."""

import hashlib
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import killed_study
import pytest
import yaml
from small_project import Project, make, shrink_to_table

from medpipe.studies.results import references


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Of skin-tabular alone, in a folder of a larger repository."""
    return make(tmp_path_factory.mktemp("table"), shrink_to_table, "register@skin", repository="..")


def test_two_workers_at_once_in_copies_run_their_own_code_and_keep_their_runs(project):
    before = {run.info.run_id for run in project.runs()}
    for name, rate in (("one", "0.03"), ("two", "0.04")):
        project.mark_code(name)
        project.run(
            "dvc", "exp", "run", "--queue", "--name", name, "--set-param", f"train.lr={rate}", "train@skin-tabular"
        )
    project.run("git", "checkout", "--quiet", "--", "src")
    # Not `dvc exp run --run-all`, which waits for its workers to end: on a busy machine one may read a queue file that
    # another is writing, and stay.
    project.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 300
    while {"one", "two"} - references(project.root).keys() and time.monotonic() < deadline:
        time.sleep(0.5)
    new = [run for run in project.runs() if run.info.run_id not in before]
    rates = {run.data.tags["medpipe.experiment"]: run.data.params["lr"] for run in new}
    assert rates == {"one": "0.03", "two": "0.04"}
    assert {run.data.tags["medpipe.experiment"]: run.data.tags["medpipe.variant"] for run in new} == {
        "one": "one", "two": "two"
    }  # fmt: skip
    assert {run.data.tags["medpipe.dirty"] for run in new} == {"true"}
    assert len({code_of(project, name)["train"]["mlp"] for name in ("HEAD", "one", "two")}) == 3
    assert {run.info.status for run in new} == {"FINISHED"}
    assert set(rates) <= {row["Experiment"] for row in project.experiments}
    assert project.run("git", "status", "--porcelain") == ""


def test_two_workers_at_once_that_need_one_training_have_one_run(project):
    before = {run.info.run_id for run in project.runs()}
    for name, seed in (("left", "1"), ("right", "2")):
        project.run(
            "dvc", "exp", "run", "--queue", "--name", name, "--set-param", "train.lr=0.05",
            "--set-param", f"evaluation.yaml:evaluate.seed={seed}", "train@skin-tabular",
        )  # fmt: skip
    project.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 300
    while {"left", "right"} - references(project.root).keys() and time.monotonic() < deadline:
        time.sleep(0.5)
    [run] = [run for run in project.runs() if run.info.run_id not in before]
    assert (run.info.status, run.data.params["lr"]) == ("FINISHED", "0.05")
    delivered = {
        lock["stages"]["train@skin-tabular"]["outs"][0]["md5"]
        for name in ("left", "right")
        for lock in [yaml.safe_load(project.run("git", "show", f"{references(project.root)[name][0][1]}:./dvc.lock"))]
    }
    assert len(delivered) == 1
    assert not [path for path in (project.root / ".tmp/checkpoints").iterdir() if path.is_dir()]


def code_of(project: Project, name: str) -> dict:
    """The fingerprints of the stages' code in the commit HEAD or an experiment."""
    commit = name if name == "HEAD" else references(project.root)[name][0][1]
    return json.loads(project.run("git", "show", f"{commit}:./reports/code.json"))


def test_an_experiment_in_a_temporary_copy_runs_the_code_of_that_copy(project):
    project.mark_code("temporary")
    project.run("dvc", "exp", "run", "--temp", "--name", "temporary", "code")
    project.run("python", "stages/fingerprint.py")
    marked = json.loads((project.root / "reports/code.json").read_text())
    project.run("git", "checkout", "--quiet", "--", ".")
    assert code_of(project, "temporary") == marked
    assert code_of(project, "HEAD") != marked


def test_the_best_of_a_study_is_an_experiment_with_the_same_figures(project):
    space = {"lr": {"low": 0.001, "high": 0.1, "log": True}, "network.units": {"choices": [[16], [100, 64, 32]]}}
    search = {"trials": 2, "metric": "val_loss", "sampler": {"startup": 1}, "pruner": {"startup": 1, "warmup": 1}}
    (project.root / "tuning.yaml").write_text(yaml.safe_dump({"skin-tabular": search | {"space": space}}))
    project.mark_code("tuned")
    output = ""
    with subprocess.Popen(
        ["python", "stages/tune.py", "skin-tabular"], cwd=project.root, env=project.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as search:  # fmt: skip
        assert search.stdout is not None
        for line in search.stdout:
            output += line
            if line.startswith("trial 0"):
                project.mark_code("edited meanwhile")
    assert search.returncode == 0, output
    best = json.loads((project.root / "reports/skin/tuning/skin-tabular/best.json").read_text())
    [(value, name, again)] = re.findall(r"val_loss (\S+); experiment (\S+): (\S+)", output)
    assert float(value) == float(again) == best["val_loss"]

    [row] = [row for row in project.experiments if row["Experiment"] == name]
    assert float(row["models.skin-tabular.lr"]) == best["settings"]["lr"]
    [parent] = [run for run in project.runs() if run.info.run_name == "tune skin-tabular"]
    assert parent.data.tags["medpipe.experiment"] == name
    [trained] = [run for run in project.runs() if run.info.run_name == f"skin-tabular ({name})"]
    assert trained.data.tags["medpipe.variant"] == parent.data.tags["medpipe.variant"] == "tuned"
    experiment, below = parent.info.experiment_id, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    assert len(project.client.search_runs([experiment], below)) == 2
    files = {file.path for file in project.client.list_artifacts(parent.info.run_id)}
    assert {"trials.csv", "best.json", "history.png"} <= files
    project.run("git", "checkout", "--quiet", "--", ".")
    shutil.rmtree(project.root / "reports/skin/tuning")


def test_a_killed_study_goes_on_and_runs_again_only_what_changed(project):
    project.mark_code("studied")
    killed_study.write(project, {"slow": 0.02, "fast": 0.3})
    killed_study.kill_in_second_row(project, "small-fast-1")
    killed = killed_study.commits(project)
    project.edit(lambda params: params["models"]["skin-tabular"].update(lr=0.5))  # each row has its own
    edited = project.run("git", "diff", "--", "params.yaml")
    assert killed["slow"]
    assert killed["fast"] is None

    output = project.run(*killed_study.COMMAND)
    assert "1 of 2 experiments are done already" in output
    assert "running small-fast-1" in output
    assert project.run("git", "diff", "--", "params.yaml") == edited
    assert project.run("git", "branch", "--show-current") == "main\n"
    assert not project.run("git", "stash", "list")
    done = killed_study.commits(project)
    assert done["slow"] == killed["slow"]
    assert done["fast"]
    assert not list((project.root / ".tmp/experiments").glob("*/"))
    assert project.run("git", "status", "--porcelain").splitlines() == [
        " M medpipe/dvc.lock", " M medpipe/params.yaml", " M medpipe/reports/code.json",
        " M medpipe/src/medpipe/provenance.py",
        " M medpipe/studies.yaml", "?? medpipe/reports/skin/studies/",
    ]  # fmt: skip

    table = json.loads((project.root / "reports/skin/studies/small.json").read_text())
    for row in table["rows"]:
        named = [r for r in project.runs() if r.data.tags.get("medpipe.experiment") == f"small-{row['row']}-1"]
        # A training that outlived its DVC may have come to its end, but nothing evaluated it.
        [run] = [r for r in named if "test/macro_f1" in r.data.metrics]
        assert run.data.metrics["test/macro_f1"] == pytest.approx(row["metrics"]["macro_f1"]["value"])
        assert float(run.data.params["lr"]) == row["set"]["lr"]
        assert run.data.tags["medpipe.variant"] == "studied"

    killed_study.write(project, {"slow": 0.03, "fast": 0.3})
    assert killed_study.commits(project) == {"slow": None, "fast": done["fast"]}
    shutil.rmtree(project.root / "reports/skin/studies")
    project.run("git", "checkout", "--quiet", "--", ".")


def cached(project: Project) -> dict[Path, str]:
    """The objects of DVC's cache, by what they now hold."""
    files = [path for path in (project.root / ".dvc/cache/files/md5").glob("??/*") if path.is_file()]
    return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def whole(objects: dict[Path, str]) -> bool:
    return all(path.parent.name + path.name.removesuffix(".dir") == found for path, found in objects.items())


def test_a_copy_has_links_and_stages_replace_them(project):
    targets = ("split@skin", "prepare@skin-table")
    before = cached(project)
    project.run("dvc", "config", "--local", "cache.type", "symlink")
    project.run("dvc", "checkout", "--relink", "--allow-missing")
    links = [path for path in (project.root / "data").rglob("*") if path.is_symlink()]
    assert {path.relative_to(project.root).parts[1] for path in links} >= {"phantom", "manifest", "clean", "prepared"}

    # Every stage from ingest on reads through links and writes anew.
    project.edit(lambda params: params["ingest"].update(max_quarantined=0.5))
    assert project.repro(*targets) == {"ingest@skin"}
    project.edit(lambda params: params["clean"]["skin"].update(unknown="drop"))
    assert project.repro(*targets) == {"clean@skin", "split@skin", "prepare@skin-table"}
    project.run("dvc", "config", "--local", "--unset", "cache.type")
    project.run("dvc", "checkout", "--relink", "--allow-missing")

    # What a copy finds of the prepared arrays: no bytes of its own. A reflink cannot be told from a copy.
    inputs = "data/prepared/skin-table"
    peek = {"cmd": f"stat -c 'links: %h' {inputs}/inputs.npy", "deps": [inputs]}
    stages = yaml.safe_load((project.root / "dvc.yaml").read_text())
    stages["stages"]["peek"] = peek
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    project.commit("A stage that counts links")
    [count] = re.findall(r"links: (\d+)", project.run("dvc", "exp", "run", "--temp", "--name", "linked", "peek"))
    assert int(count) > 1 or re.search(r"Cache types:.*reflink", project.run("dvc", "version"))

    after = cached(project)
    assert len(after) > len(before)
    assert whole(after)
