"""A study of two rows in the small project: begun, and killed in its second row."""

import subprocess
import time
from contextlib import suppress

import psutil
import yaml
from small_project import Project

from medpipe import params
from medpipe.studies.plan import plan
from medpipe.studies.results import Workspace

COMMAND = ("python", "stages/study.py", "small", "--jobs", "1")


def write(project: Project, rates: dict[str, float]) -> None:
    """studies.yaml: a row of the tabular model for each learning rate, the first the baseline."""
    rows = {row: {"model": "skin-tabular", "published": {}, "set": {"lr": rate}} for row, rate in rates.items()}
    small = {
        "task": "skin", "metric": "macro_f1", "scale": "laptop", "seeds": [1], "repeats": {}, "controls": {},
        "baseline": next(iter(rows)), "rows": rows,
    }  # fmt: skip
    (project.root / "studies.yaml").write_text(yaml.safe_dump({"small": small}, sort_keys=False))


def commits(project: Project) -> dict[str, str | None]:
    """The commit of each experiment that would come out the same now."""
    study = params.load_studies(project.root / "studies.yaml")["small"]
    experiments = plan("small", study, params.read(project.root))
    workspace = Workspace(project.root)
    return {experiment.row: workspace.find(experiment) for experiment in experiments}


def kill_in_second_row(project: Project, name: str, limit: float = 240) -> None:
    """Begin the study and kill -9 it and its DVC when experiment `name` trains; its training lives on."""
    driver = subprocess.Popen(COMMAND, cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL)
    itself = psutil.Process(driver.pid)
    family: list[psutil.Process] = []
    end = time.monotonic() + limit
    while not any(trains(process, name) for process in family):
        assert time.monotonic() < end, f"{name} did not train within {limit} s"
        with suppress(subprocess.TimeoutExpired):
            driver.wait(timeout=0.2)
            raise AssertionError("the study ended before it could be killed")
        family = itself.children(recursive=True)
    for process in [itself, *family]:
        if not trains(process, name):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    driver.wait()


def trains(process: psutil.Process, name: str) -> bool:
    """Whether a process is the training of experiment `name`; one that has just ended, a zombie too, is none."""
    with suppress(psutil.NoSuchProcess):
        return "stages/train.py" in process.cmdline() and process.environ()["DVC_EXP_NAME"] == name
    return False
