"""A copy of this repository with small phantoms and few epochs, in which DVC, git and MLflow run as they are."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from medpipe.params import read, write

REPOSITORY = Path(__file__).parents[2]
MODELS = ("skin-tabular", "skin-image", "brain-classifier", "brain-resunet", "chest-convnet")
ENSEMBLE = {"skin-mean": ("skin-image", "skin-early")}
FUSIONS = ("skin-early", *ENSEMBLE, "brain-cascade")
ALL = (*MODELS, *FUSIONS)


@dataclass(frozen=True)
class Project:
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))} | {
            "PYTHONPATH": str(Path(__file__).with_name("elsewhere")),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *command: str) -> str:
        """What the command printed; an assertion error with it where the command failed."""
        found = subprocess.run(
            command, cwd=self.root, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert found.returncode == 0, found.stdout[-4000:]
        return found.stdout

    def repro(self, *arguments: str) -> set[str]:
        """The stages that `dvc repro` ran."""
        return stages_in(self.run("dvc", "repro", *arguments))

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        values = read(self.root)
        change(values)
        write(self.root, values)

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def restore(self) -> None:
        """What was committed, and DVC's results of it."""
        self.run("git", "checkout", "--quiet", "--", ".")
        self.run("dvc", "checkout", "--quiet", "--force")

    @property
    def experiments(self) -> list[dict[str, str]]:
        """The rows of `dvc exp show`."""
        return list(csv.DictReader(io.StringIO(self.run("dvc", "exp", "show", "--csv"))))

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")

    def runs(self, filter_string: str = "") -> list[Run]:
        client = self.client
        return client.search_runs([e.experiment_id for e in client.search_experiments()], filter_string)

    def key(self, name: str) -> str:
        """The key of the run that made the model in models/."""
        return json.loads((self.root / "models" / name / "run.json").read_text())["key"]

    def find_run(self, key: str) -> Run:
        """The run of that key; there must be exactly one."""
        [run] = self.runs(f"tags.`medpipe.run` = '{key}'")
        return run


def stages_in(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def shrink(params: dict[str, Any]) -> None:
    """Every task and every kind of model, as small as they come."""
    params["phantom"]["skin"] |= {"lesions": 150, "external": 8}
    params["phantom"]["brain"] |= {"patients": 8, "slices": 6, "size": 64}
    params["phantom"]["chest"] |= {"images": 90, "size": 64}
    params["models"] = {name: params["models"][name] for name in MODELS}
    params["fusions"] = {name: params["fusions"][name] for name in FUSIONS}
    for name, members in ENSEMBLE.items():
        params["fusions"][name] |= {"members": list(members), "inputs": ["skin-28", "skin-table"]}
    params["models"]["skin-image"]["network"] |= {
        "backbone": "MobileNetV2", "options": {"alpha": 0.35}, "unfreeze": 0, "head": [16]
    }  # fmt: skip
    params["models"]["chest-convnet"]["network"] |= {"filters": [8, 16], "units": 16}
    for task in params["compare"]:
        listed = [name for name in params["compare"][task]["models"] if name in ALL]
        params["compare"][task]["models"] = listed
    params["generators"] = {"skin-sagan": params["generators"]["skin-sagan"]}
    params["generator_caps"]["laptop"]["sagan"] |= {"steps": 4, "every": 2, "batch": 4, "judged": 8, "drawn": 8}
    params["probes"]["chest"]["models"] = ["chest-convnet"]
    read = {
        key
        for section in ("models", "fusions", "generators")
        for recipe in params[section].values()
        for key in recipe["inputs"]
    }
    params["prepare"] = {key: variant for key, variant in params["prepare"].items() if key in read}
    params["image_size"]["laptop"] = 32
    params["scales"]["laptop"] |= {"epochs": 2, "head_epochs": 4, "rows": 96}
    params["evaluate"]["resamples"] = 50
    for registered in params["registry"].values():
        registered["gate"] |= {
            "max_calibration_error": None,
            "subgroup_floor": None,
        }  # such models are neither calibrated nor fair


def shrink_to_table(params: dict[str, Any]) -> None:
    """The task skin, with skin-tabular alone."""
    shrink(params)
    params["evaluate"]["explain"] = {}
    params["evaluate"]["decide"] = {"skin": params["evaluate"]["decide"]["skin"]}
    for section in ("tasks", "phantom", "clean", "split", "compare", "registry"):
        params[section] = {"skin": params[section]["skin"]}
    params["prepare"] = {"skin-table": params["prepare"]["skin-table"]}
    params["models"] = {"skin-tabular": params["models"]["skin-tabular"]}
    params["fusions"], params["probes"], params["generators"] = {}, {}, {}
    params["compare"]["skin"]["models"] = ["skin-tabular"]


def make(folder: Path, change: Callable[[dict[str, Any]], None], *targets: str, repository: str = ".") -> Project:
    """After `make repro`, or one `dvc repro` of the targets where there are some, committed.

    What `make repro` printed is in the file `printed` beside the project, and what each stage read in the folder
    `reads` (elsewhere/sitecustomize.py). `repository`: git's place, from the project.
    """
    project = Project(folder / "medpipe")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (
            (REPOSITORY / name).is_file()
            and not re.match(r"(reports|metrics)/.+\.(json|md|csv)$", name)
            and name != "dvc.lock"
        ):
            (project.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, project.root / name)
    project.run("git", "init", "--quiet", "--initial-branch", "main", repository)
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        project.run("git", "config", key, value)
    project.edit(change)
    project.commit("The pipeline, small")
    if targets:
        project.repro(*targets)
    else:
        (folder / "reads").mkdir()
        recorded = "env", f"MEDPIPE_READS={folder / 'reads'}", "python"
        (folder / "printed").write_text(project.run(*recorded, "stages/repro.py", "--jobs", "2"))
    project.commit("Its results")
    return project
