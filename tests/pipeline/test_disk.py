"""What a run and experiments leave on the disk, and what `make gc` takes away."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from small_project import Project, make, shrink_to_table

STORES = (".dvc/cache", "mlartifacts", ".tmp", "models", "predictions")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Of skin-tabular alone, with three experiments in copies; only `registered` is evaluated."""
    project = make(tmp_path_factory.mktemp("disk"), shrink_to_table, "register@skin")
    for name, rate, target in (("gone", 3, "train"), ("branched", 4, "train"), ("registered", 5, "evaluate")):
        rates = ("--set-param", f"train.lr=0.0{rate}")
        project.run("dvc", "exp", "run", "--temp", "--name", name, *rates, f"{target}@skin-tabular")
    return project


def files(root: Path, *folders: str) -> list[Path]:
    return [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]


def test_models_of_a_run_and_of_an_experiment_lie_once_on_the_disk(project):
    copies = defaultdict(set)
    for path in files(project.root, *STORES):
        if path.stat().st_size > 20_000 and "report" not in path.parts:
            copies[path.read_bytes()].add(path.stat().st_ino)
    graphs = [path for path in files(project.root, "mlartifacts") if path.name in ("model.keras", "model.onnx")]
    assert len(graphs) == 4  # of the run and of `registered`
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
    collect(project, "y")  # what the copies left
    assert made_by(project) == {None, "gone", "branched", "registered"}
    [run] = project.runs("tags.`medpipe.experiment` = 'registered'")
    [model] = project.client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    script = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); "
        f"mlflow.register_model('models:/{model.model_id}', 'by-hand')"
    )
    project.run("python", "-c", script)
    project.run("dvc", "exp", "branch", "branched", "of-its-own")
    project.run("dvc", "exp", "remove", "gone", "branched", "registered")

    before = size(project)
    output, stated = collect(project, "n")
    assert "no longer knows: gone\n" in output
    assert size(project) == before
    assert stated > 50_000  # the network of `gone`

    _, stated = collect(project, "y")
    assert before - size(project) == pytest.approx(stated, abs=1000)
    assert made_by(project) == {None, "branched", "registered"}
    assert project.client.list_logged_model_artifacts(model.model_id, "data/skin-tabular")
    assert not subprocess.run(
        ["dvc", "status", "--quiet", "register@skin"], cwd=project.root, env=project.environment
    ).returncode
    project.run("git", "checkout", "--quiet", "of-its-own")
    project.run("dvc", "checkout", "models/skin-tabular")
    assert project.find_run(project.key("skin-tabular")).data.tags["medpipe.experiment"] == "branched"
    assert "nothing to remove" in collect(project, "y")[0]


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
