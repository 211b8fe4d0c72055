"""Does the pipeline end as an undisturbed one, however often a process of it is killed?

    python benchmarks/kills.py --kills 200 [--seed 0] [--folder FOLDER]

The tests' small project, all stages of all tasks, runs once undisturbed. Then new copies of it run one after another,
until there were that many kills: at random moments one process of the driver, its DVCs, their stages and the workers of
these gets SIGKILL, or the driver SIGTERM. The driver is started again where it ended. At the end of each copy DVC has
nothing to do, what the stages wrote is the undisturbed run's (but for files with ids and times), each model has one run
in MLflow, none is left running, and no lock names a process.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/pipeline"))
from small_project import ALL, Project, make, shrink

COMMAND = ("python", "stages/repro.py", "--jobs", "2")
DELAYS = 0.2, 12.0  # seconds between kills; a kill in the first seconds meets the driver's imports


def main(kills: int, seed: int, folder: Path) -> bool:
    started, draw, victims, problems = time.perf_counter(), random.Random(seed), Counter[str](), list[str]()
    undisturbed = make(folder / "undisturbed", shrink)
    print(f"undisturbed: {time.perf_counter() - started:.0f} s", flush=True)
    copies = 0
    while victims.total() < kills:
        copies += 1
        disturbed = make(folder / f"disturbed-{copies}", shrink, "code")
        with (folder / f"log-{copies}").open("w") as log:
            disturb(disturbed, kills, draw, victims, log)
        disturbed.run(*COMMAND)
        problems += [f"copy {copies}: {problem}" for problem in compare(undisturbed, disturbed)]
        print(f"copy {copies}: {victims.total()} kills, {len(problems)} problems", flush=True)
    print("; ".join(f"{name} {count}" for name, count in sorted(victims.items())))
    lines = [line for path in folder.glob("log-*") for line in path.read_text().splitlines()]
    healed = Counter(line.partition(":")[0] for line in lines if line.startswith("healed"))
    print("; ".join(f"{name} {count} times" for name, count in sorted(healed.items())) or "nothing was healed")
    print("\n".join(problems) or "each end is that of the undisturbed run")
    print(f"{time.perf_counter() - started:.0f} s")
    return not problems


def disturb(project: Project, kills: int, draw: random.Random, victims: Counter[str], log: TextIO) -> None:
    """Run the pipeline to its end, and kill on the way until there were that many `victims`, which are counted."""
    driver = begin(project, log)
    while victims.total() < kills:
        with suppress(subprocess.TimeoutExpired):
            if driver.wait(draw.uniform(*DELAYS)) == 0:
                return
            driver = begin(project, log)
            continue
        itself = psutil.Process(driver.pid)
        family = [itself, *itself.children(recursive=True)]
        few = [process for process in family if kind(process) in ("driver", "dvc")]  # half of the kills go to these
        victim = draw.choice(draw.choice((few or family, family)))
        name = kind(victim)
        number = signal.SIGTERM if name == "driver" and draw.random() < 0.3 else signal.SIGKILL
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(number)
            victims[f"{name} {number.name}"] += 1
            print(f"{victims.total()}: {number.name} to {name}", file=log, flush=True)
    driver.wait()


def begin(project: Project, log: TextIO) -> subprocess.Popen:
    return subprocess.Popen(COMMAND, cwd=project.root, env=project.environment, stdout=log, stderr=subprocess.STDOUT)


def kind(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        line = " ".join(process.cmdline())
        if "stages/repro.py" in line:
            return "driver"
        if "-m dvc" in line:
            return "dvc"
        if "stages/" in line:
            return Path(line.partition("stages/")[2].split()[0]).stem
        return "worker"
    return "ended"


def compare(undisturbed: Project, disturbed: Project) -> list[str]:
    """What is not as it must be."""
    problems = []
    if (status := disturbed.run("dvc", "status")).strip() != "Data and pipelines are up to date.":
        problems.append(status)
    if again := disturbed.repro():
        problems.append(f"`dvc repro` ran {', '.join(sorted(again))}")
    one, other = (outputs(project) for project in (undisturbed, disturbed))
    problems += [f"{path}: differs" for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path)]
    for name in ALL:
        task = name.partition("-")[0]
        runs = [run for run in disturbed.runs() if run.data.tags.get("mlflow.runName", "") == name]
        if [run.info.status for run in runs] != ["FINISHED"]:
            problems.append(f"{task}: {name} has runs {[run.info.status for run in runs]}")
    problems += [f"{r.info.run_name}: {r.info.status}" for r in disturbed.runs() if r.info.status == "RUNNING"]
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
    """What the stages wrote, by path; without files with ids and times."""
    found: dict[str, bytes] = {}
    for folder in ("data", "models", "predictions", "metrics", "plots", "reports"):
        for path in (project.root / folder).rglob("*"):
            if path.is_file() and path.name != "run.json":
                found[str(path.relative_to(project.root))] = path.read_bytes()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    place = arguments.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    sys.exit(not main(arguments.kills, arguments.seed, place.resolve()))
