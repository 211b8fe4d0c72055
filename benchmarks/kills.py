"""Does the pipeline end as an undisturbed one, however often a process of it is killed?

    python benchmarks/kills.py --kills 200 [--full 1] [--seed 0] [--folder FOLDER]

The tests' small project runs once undisturbed. Then new copies of it run one after another, until there were that many
kills: at random moments one process of the driver, its DVCs, their stages and the workers of these gets SIGKILL, or the
driver SIGTERM. The driver is started again where it ended. The first `--full` copies have all tasks and kinds of
models, the others have skin-tabular alone, so that they soon come to their end. At the end of each copy DVC has nothing
to do, what the stages wrote is the undisturbed run's (but for files with ids and times), each model has one run in
MLflow, none is left running, and no lock names a process.
"""

import argparse
import json
import math
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/pipeline"))
from small_project import Project, make, shrink, shrink_to_table

from medpipe import processes
from medpipe.params import load

COMMAND = ("python", "stages/repro.py", "--jobs", "2")
AIMS = "driver", "dvc", "stage", "stage"  # of the kills, half go to stages and their workers
SHARE = 20  # no kind of stage gets more than one in so many: the first ones would get most, and the last ones none
DELAYS = 0.1, 8.0  # seconds from where there is such a process to the kill, short ones more often


def main(kills: int, full: int, seed: int, folder: Path) -> bool:
    started, draw, victims, problems = time.perf_counter(), random.Random(seed), Counter[str](), list[str]()
    undisturbed: dict[Callable[[dict[str, Any]], None], Project] = {}
    copies = 0
    while victims.total() < kills:
        copies += 1
        change = shrink if copies <= full else shrink_to_table
        if change not in undisturbed:
            undisturbed[change] = make(folder / f"undisturbed-{change.__name__}", change)
            print(f"{time.perf_counter() - started:.0f} s: {change.__name__} ran undisturbed", flush=True)
        disturbed = make(folder / f"disturbed-{copies}", change, "code")
        with (folder / f"log-{copies}").open("w") as log:
            problems_here = disturb(disturbed, kills, draw, victims, log) or compare(undisturbed[change], disturbed)
        problems += [f"copy {copies}: {problem}" for problem in problems_here]
        print(f"{time.perf_counter() - started:.0f} s: {copies} copies, {victims.total()} kills", flush=True)
        print("\n".join(f"  {problem}" for problem in problems_here), flush=True)
    print("; ".join(f"{name} {count}" for name, count in sorted(victims.items())))
    lines = [line for path in folder.glob("log-*") for line in path.read_text().splitlines()]
    healed = Counter(line.partition(":")[0] for line in lines if line.startswith("healed"))
    print("; ".join(f"{name} {count} times" for name, count in sorted(healed.items())) or "nothing was healed")
    print("\n".join(problems) or "each end is that of the undisturbed run")
    return not problems


def disturb(project: Project, kills: int, draw: random.Random, victims: Counter[str], log: TextIO) -> list[str]:
    """Run the pipeline to its end, and kill on the way until there were that many `victims`, which are counted.

    Returns a problem where the driver failed though nothing was killed since it began.
    """
    driver, before = begin(project, log), victims.total()
    aim = draw.choice(AIMS)
    while True:
        near = bool(targets(project, aim, victims))
        delay = math.exp(draw.uniform(*map(math.log, DELAYS))) if near else 0.1
        with suppress(subprocess.TimeoutExpired):
            if driver.wait(delay if victims.total() < kills else None) == 0:
                return []
            if victims.total() == before:
                return [f"the driver failed by itself, see {log.name}"]
            driver, before = begin(project, log), victims.total()
            continue
        if near and (living := targets(project, aim, victims)):
            name, victim = draw.choice(living)
            number = signal.SIGTERM if aim == "driver" and draw.random() < 0.3 else signal.SIGKILL
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(number)
                victims[f"{name} {number.name}"] += 1
                print(f"{victims.total()}: {number.name} to {name}", file=log, flush=True)
            aim = draw.choice(AIMS)


def begin(project: Project, log: TextIO) -> subprocess.Popen:
    return subprocess.Popen(COMMAND, cwd=project.root, env=project.environment, stdout=log, stderr=subprocess.STDOUT)


def targets(project: Project, aim: str, victims: Counter[str]) -> list[tuple[str, psutil.Process]]:
    """The project's processes of that aim, those whose driver or DVC was killed, too, by name; of stages those that had
    less than their share."""
    targets = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if not processes.runs_in(process, project.root) or process.status() == psutil.STATUS_ZOMBIE:
                continue
            line = " ".join(process.cmdline())
            if "stages/repro.py" in line:
                name = "driver"
            elif processes.is_dvc(process):
                name = "dvc"
            elif stage := re.search(r"stages/(\w+)\.py", line):
                name = stage[1]
            elif process.environ().get("DVC_STAGE"):
                name = "worker"
            else:
                continue
            is_stage = name not in AIMS
            if aim == ("stage" if is_stage else name) and not (
                is_stage and victims[f"{name} SIGKILL"] > victims.total() / SHARE
            ):
                targets.append((name, process))
    return targets


def compare(undisturbed: Project, disturbed: Project) -> list[str]:
    """What is not as it must be."""
    problems = []
    if (status := disturbed.run("dvc", "status")).strip() != "Data and pipelines are up to date.":
        problems.append(status)
    if again := disturbed.repro():
        problems.append(f"`dvc repro` ran {', '.join(sorted(again))}")
    one, other = (outputs(project) for project in (undisturbed, disturbed))
    problems += [f"{path}: differs" for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path)]
    runs = disturbed.runs()
    for name in load(disturbed.root).all_models:
        statuses = [run.info.status for run in runs if run.info.run_name == name]
        if statuses != ["FINISHED"]:
            problems.append(f"{name} has runs {statuses}")
    problems += [f"{run.info.run_name}: {run.info.status}" for run in runs if run.info.status == "RUNNING"]
    rwlock = disturbed.root / ".dvc/tmp/rwlock"
    if rwlock.exists() and any(json.loads(rwlock.read_text()).values()):
        problems.append(f"rwlock: {rwlock.read_text()}")
    problems += [
        f"left: {path.relative_to(disturbed.root)}"
        for path in disturbed.root.rglob("*.tmp*")
        if not {".git", ".dvc", ".venv"} & set(path.parts) and path.name != ".tmp"
    ]
    return problems


def outputs(project: Project) -> dict[str, bytes]:
    """What the stages wrote, by path. Left out: run.json, the run's id and times; that id elsewhere, ids of
    commits, and of a .keras its metadata, a date, and the places of its objects in memory.
    """
    ids = [project.key(name) for name in load(project.root).all_models] + project.run(
        "git", "log", "--format=%H"
    ).split()
    contents: dict[str, bytes] = {}
    for folder in ("data", "models", "predictions", "metrics", "plots", "reports"):
        for path in (project.root / folder).rglob("*"):
            if not path.is_file() or path.name == "run.json":
                continue
            content = path.read_bytes()
            if path.suffix == ".keras":
                with zipfile.ZipFile(path) as file:
                    content = b"".join(file.read(name) for name in sorted(file.namelist()) if name != "metadata.json")
                content = re.sub(rb'"shared_object_id": \d+', b"", content)
            for id_ in ids:
                content = content.replace(id_.encode(), b"id")
            contents[str(path.relative_to(project.root))] = content
    return contents


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--full", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    place = arguments.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    sys.exit(not main(arguments.kills, arguments.full, arguments.seed, place.resolve()))
