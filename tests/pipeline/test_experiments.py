"""Experiments, a search and a study, as DVC runs them in copies of the repository, and what they leave on the disk."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import killed_study
import pandas as pd
import pytest
import yaml
from mlflow.entities import Run
from small_project import Project, make, shrink_to_table

from medpipe.studies.copies import git
from medpipe.studies.results import output, references

STORES = (".dvc/cache", "mlartifacts", ".tmp", "models", "predictions")
TAGGED = 'found = {"mlflow.user": user,'  # in provenance.py
# While `.tmp/edit` exists in the workspace, asking for a run's tags edits the code there once more.
EDITS = """if (place := Path(os.environ.get("MEDPIPE_ROOT", "."))).joinpath(".tmp/edit").exists():
        code = place / "src/medpipe/provenance.py"
        code.write_text(code.read_text().replace("variant-" + "a", "variant-" + "b"))
    """


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Of skin-tabular alone, in a folder of a larger repository."""
    return make(tmp_path_factory.mktemp("table"), shrink_to_table, "register@skin", repository="..")


def edit_code(project: Project, variant: str, before: str = "") -> None:
    """Make runs bear the tag `variant`, after the statements `before`, and packages of models hold a VARIANT."""
    provenance, predictor = (project.root / f"src/medpipe/{name}.py" for name in ("provenance", "serving/predictor"))
    text = provenance.read_text()
    assert text.count(TAGGED) == 1
    provenance.write_text(text.replace(TAGGED, before + TAGGED.replace("{", f'{{"variant": "{variant}", ')))
    predictor.write_text(f'{predictor.read_text()}\n\nVARIANT = "{variant}"\n')


def hashes(project: Project, experiment: str = "") -> dict[str, Any]:
    """reports/code.json of the experiment, or of the code that lies in the workspace, where nothing is changed."""
    if experiment:
        [(_, commit)] = references(project.root)[experiment]
        return json.loads(git(project.root, "show", f"{commit}:./reports/code.json"))
    project.run("python", "stages/fingerprint.py")
    found = json.loads((project.root / "reports/code.json").read_text())
    project.run("git", "checkout", "--quiet", "--", "reports/code.json")
    return found


def is_evaluated(run: Run) -> bool:
    return "test/macro_f1" in run.data.metrics


def test_an_experiment_in_a_copy_runs_the_code_that_it_holds(project):
    rows = len(pd.read_parquet(project.root / "data/clean/skin.parquet"))
    path = project.root / "src/medpipe/data/clean.py"
    text, end = path.read_text(), "index=table.index)], axis=1)\n"
    assert text.count(end) == 1
    path.write_text(text.replace(end, end.replace("\n", ".iloc[1:]\n")))
    project.run("dvc", "exp", "run", "--temp", "--name", "shorter", "clean@skin")
    expected = hashes(project)
    project.run("git", "checkout", "--quiet", "--", "src")
    assert len(pd.read_parquet(io.BytesIO(output(project.root, "data/clean/skin.parquet", "shorter")))) == rows - 1
    assert hashes(project, "shorter") == expected
    assert expected["clean"] != hashes(project)["clean"]


def test_two_workers_in_copies_run_their_own_code_and_train_what_both_need_once(project):
    """First two experiments at once whose code differs, then two at once that need the same training."""
    before = {run.info.run_id for run in project.runs()}
    codes = {}
    for name, rate in (("one", "0.03"), ("two", "0.04")):
        edit_code(project, f"variant of {name}")
        project.run(
            "dvc", "exp", "run", "--queue", "--name", name, "--set-param", f"train.lr={rate}", "train@skin-tabular"
        )
        codes[name] = hashes(project)
        project.run("git", "checkout", "--quiet", "--", "src")
    for name, seed in (("left", "1"), ("right", "2")):
        project.run(
            "dvc", "exp", "run", "--queue", "--name", name, "--set-param", "train.lr=0.05",
            "--set-param", f"evaluation.yaml:evaluate.seed={seed}", "train@skin-tabular",
        )  # fmt: skip
    # Not `dvc exp run --run-all`, which waits for its workers to end: on a busy machine one may read a queue file that
    # another is writing, and stay.
    project.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 400
    while {"one", "two", "left", "right"} - references(project.root).keys() and time.monotonic() < deadline:
        time.sleep(0.5)
    new = [run for run in project.runs() if run.info.run_id not in before]
    assert {run.info.status for run in new} == {"FINISHED"}
    assert sorted(run.data.params["lr"] for run in new) == ["0.03", "0.04", "0.05"]
    own = {run.data.tags["medpipe.experiment"]: run for run in new if run.data.params["lr"] != "0.05"}
    assert {name: run.data.params["lr"] for name, run in own.items()} == {"one": "0.03", "two": "0.04"}
    ran = {name: run.data.tags["variant"] for name, run in own.items()}
    assert ran == {"one": "variant of one", "two": "variant of two"}
    assert {run.data.tags["medpipe.dirty"] for run in own.values()} == {"true"}
    head = project.run("git", "rev-parse", "HEAD").strip()
    assert {run.data.tags["mlflow.source.git.commit"] for run in new} == {head}
    assert {name: hashes(project, name) for name in codes} == codes
    assert codes["one"]["train"] != codes["two"]["train"]
    delivered = {
        lock["stages"]["train@skin-tabular"]["outs"][0]["md5"]
        for name in ("left", "right")
        for lock in [yaml.safe_load(project.run("git", "show", f"{references(project.root)[name][0][1]}:./dvc.lock"))]
    }
    assert len(delivered) == 1
    assert {"one", "two", "left", "right"} <= {row["Experiment"] for row in project.experiments}
    assert project.run("git", "status", "--porcelain") == ""


def test_the_best_of_a_study_is_an_experiment_with_the_same_figures(project):
    space = {"lr": {"low": 0.001, "high": 0.1, "log": True}, "network.units": {"choices": [[16], [100, 64, 32]]}}
    search = {"trials": 2, "metric": "val_loss", "sampler": {"startup": 1}, "pruner": {"startup": 1, "warmup": 1}}
    (project.root / "tuning.yaml").write_text(yaml.safe_dump({"skin-tabular": search | {"space": space}}))
    edit_code(project, "variant-a", EDITS)
    edit = project.root / ".tmp/edit"
    edit.touch()
    printed = project.run("python", "stages/tune.py", "skin-tabular")
    edit.unlink()
    assert "variant-b" in (project.root / "src/medpipe/provenance.py").read_text()
    best = json.loads((project.root / "reports/skin/tuning/skin-tabular/best.json").read_text())
    [(value, name, again)] = re.findall(r"val_loss (\S+); experiment (\S+): (\S+)", printed)
    assert float(value) == float(again) == best["val_loss"]

    [row] = [row for row in project.experiments if row["Experiment"] == name]
    assert float(row["models.skin-tabular.lr"]) == best["settings"]["lr"]
    [parent] = [run for run in project.runs() if run.info.run_name == "tune skin-tabular"]
    assert parent.data.tags["medpipe.experiment"] == name
    experiment, below = parent.info.experiment_id, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    assert len(project.client.search_runs([experiment], below)) == 2
    [winner] = [run for run in project.runs() if run.info.run_name == f"skin-tabular ({name})"]
    assert winner.data.tags["variant"] == "variant-a"
    files = {file.path for file in project.client.list_artifacts(parent.info.run_id)}
    assert {"trials.csv", "best.json", "history.png"} <= files
    project.run("git", "checkout", "--quiet", "--", ".")
    shutil.rmtree(project.root / "reports/skin/tuning")


def test_a_killed_study_goes_on_and_runs_again_only_what_changed(project):
    edit_code(project, "variant-a", EDITS)
    killed_study.write(project, {"slow": 0.02, "fast": 0.3})
    killed_study.kill_in_second_row(project, "small-fast-1")
    killed = killed_study.commits(project)
    project.edit(lambda params: params["models"]["skin-tabular"].update(lr=0.5))  # each row has its own
    edited = project.run("git", "diff", "--", "params.yaml")
    assert killed["slow"]
    assert killed["fast"] is None

    (project.root / ".tmp/edit").touch()
    printed = project.run(*killed_study.COMMAND)
    assert "1 of 2 experiments are done already" in printed
    assert "running small-fast-1" in printed
    assert "variant-b" in (project.root / "src/medpipe/provenance.py").read_text()
    assert project.run("git", "diff", "--", "params.yaml") == edited
    assert project.run("git", "branch", "--show-current") == "main\n"
    assert not project.run("git", "stash", "list")
    done = killed_study.commits(project)
    assert done["slow"] == killed["slow"]
    assert done["fast"]
    assert not list((project.root / ".tmp/experiments").glob("*/"))
    assert project.run("git", "status", "--porcelain").splitlines() == [
        " M medpipe/dvc.lock", " M medpipe/params.yaml", " M medpipe/reports/code.json",
        " M medpipe/src/medpipe/provenance.py", " M medpipe/src/medpipe/serving/predictor.py",
        " M medpipe/studies.yaml", "?? medpipe/reports/skin/studies/",
    ]  # fmt: skip

    table = json.loads((project.root / "reports/skin/studies/small.json").read_text())
    for row in table["rows"]:
        named = [r for r in project.runs() if r.data.tags.get("medpipe.experiment") == f"small-{row['row']}-1"]
        # A training that outlived its DVC may have come to its end, but nothing evaluated it.
        [run] = filter(is_evaluated, named)
        assert run.data.metrics["test/macro_f1"] == pytest.approx(row["metrics"]["macro_f1"]["value"])
        assert float(run.data.params["lr"]) == row["set"]["lr"]
        assert run.data.tags["variant"] == "variant-a"
    packed = [path.read_text() for path in (project.root / "mlartifacts").rglob("serving/predictor.py")]
    assert sum('VARIANT = "variant-a"' in text for text in packed) >= 2

    killed_study.write(project, {"slow": 0.03, "fast": 0.3})
    assert killed_study.commits(project) == {"slow": None, "fast": done["fast"]}
    project.run("python", "stages/fingerprint.py")  # of the code that was edited while it ran
    assert killed_study.commits(project) == {"slow": None, "fast": None}
    (project.root / ".tmp/edit").unlink()
    shutil.rmtree(project.root / "reports/skin/studies")
    project.run("git", "checkout", "--quiet", "--", ".")


def files(root: Path, *folders: str) -> list[Path]:
    return [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]


def test_models_of_a_run_and_of_an_experiment_lie_once_on_the_disk(project):
    copies = defaultdict(set)
    for path in files(project.root, *STORES):
        if "report" not in path.parts:
            copies[path.read_bytes()].add(path.stat().st_ino)
    graphs = [path for path in files(project.root, "mlartifacts") if path.name in ("model.keras", "model.onnx")]
    assert len(graphs) >= 4  # of the run, and of the study's rows
    for path in graphs:
        assert len(copies[path.read_bytes()]) == 1, path
        assert path.stat().st_nlink > 1
        assert not path.stat().st_mode & 0o222  # DVC's cache has these bytes too


def size(project: Project) -> int:
    """Bytes of the stores, each file once."""
    statuses = {path.stat().st_ino: path.stat().st_size for path in files(project.root, *STORES)}
    return sum(statuses.values())


def made_by(project: Project) -> set[str | None]:
    """The experiments of the runs in MLflow, None for runs of the workspace."""
    return {run.data.tags.get("medpipe.experiment") for run in project.runs()}


def collect(project: Project, answer: str) -> tuple[str, float]:
    """What `make gc` prints, and how many bytes it says that it frees."""
    output = project.run("bash", "-c", f"echo {answer} | python stages/gc.py")
    stated = re.search(r"in all +([\d.]+) MB", output)
    return output, float(stated[1]) * 1e6 if stated else 0.0


def test_gc_removes_what_dvc_no_longer_knows_and_keeps_branches_and_what_is_registered(project):
    gone, branched, registered = "one", "two", "small-slow-1"
    collect(project, "y")  # what the copies left
    before = made_by(project)
    assert before >= {None, gone, branched, registered}
    [run] = filter(is_evaluated, project.runs(f"tags.`medpipe.experiment` = '{registered}'"))
    [model] = project.client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    script = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
        f"mlflow.register_model('models:/{model.model_id}', 'by-hand')"
    )
    project.run("python", "-c", script)
    project.run("dvc", "exp", "branch", branched, "of-its-own")
    project.run("dvc", "exp", "remove", gone, branched, registered)

    bytes_before = size(project)
    output, stated = collect(project, "n")
    assert f"no longer knows: {gone}\n" in output
    assert size(project) == bytes_before
    assert stated > 50_000  # the network of `one`

    _, stated = collect(project, "y")
    assert bytes_before - size(project) == pytest.approx(stated, abs=1000)
    assert made_by(project) == before - {gone}
    assert project.client.list_logged_model_artifacts(model.model_id, "data/skin-tabular")
    assert not subprocess.run(
        ["dvc", "status", "--quiet", "register@skin"], cwd=project.root, env=project.environment
    ).returncode
    project.run("git", "checkout", "--quiet", "of-its-own")
    project.run("dvc", "checkout", "models/skin-tabular")
    assert project.find_run(project.key("skin-tabular")).data.tags["medpipe.experiment"] == branched
    assert "nothing to remove" in collect(project, "y")[0]
    project.run("git", "checkout", "--quiet", "main")
    project.run("dvc", "checkout", "--quiet", "--allow-missing")


def test_gc_does_nothing_while_dvc_is_at_work(project):
    hold = "from dvc.repo import Repo, lock_repo\nwith Repo() as repo, lock_repo(repo): print(flush=True); input()"
    with subprocess.Popen(
        ["python", "-c", hold], cwd=project.root, env=project.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(AssertionError, match="another DVC is at work"):
            collect(project, "y")
        other.communicate(b"\n")


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
