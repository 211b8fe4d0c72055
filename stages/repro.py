"""Rebuild the whole pipeline, several tasks at a time: `python stages/repro.py --jobs 2`. No stage of DVC's.

Each line of a stage's output bears the stage's name, so that those of two tasks can be told apart, and a bar counts the
stages.
"""

import argparse
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from medpipe.params import Params, load

DVC = (sys.executable, "-m", "dvc")
BEGUN = re.compile(r"Running stage '(.+)':$")
DONE = re.compile(r"Stage '(.+)' (didn't change|is cached)")
NOISE = re.compile(
    r"^(Updating|Generating) lock file|^To (track|enable)|^\tgit add|^\tdvc config|^Use `dvc push`|^\s*$"
)


def main(jobs: int) -> int:
    params = load()
    listed = subprocess.run([*DVC, "stage", "list", "--name-only"], check=True, capture_output=True, text=True)
    with tqdm(total=len(listed.stdout.splitlines()), unit="stage", disable=None) as bar:
        seen: set[str] = set()
        failed = [task for task in ["code"] if run(task, bar, seen)]  # first, since all targets begin with it
        with ThreadPoolExecutor(jobs) as pool:
            targets = [] if failed else [f"register@{task}" for task in params.registry]
            codes = pool.map(lambda target: run(target, bar, seen), targets)
            failed += [target for target, code in zip(targets, codes, strict=True) if code]
        if not failed and run("", bar, seen):  # what the targets above do not need
            failed = ["repro"]
    tqdm.write("\n".join([f"failed: {target}; its own message is above" for target in failed] or closing(params)))
    return len(failed)


def run(target: str, bar: tqdm, seen: set[str]) -> int:
    """Run a target, by default all, and its status; stages that another target came by already are passed over."""
    command = [*DVC, "--wait-for-lock", "repro", *filter(None, [target])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert process.stdout is not None
    stage = target or "dvc"
    for line in process.stdout:
        if found := BEGUN.search(line) or DONE.search(line):
            stage = found[1]
            if stage not in seen:
                seen.add(stage)
                bar.update()
            if DONE.search(line):
                continue
        if not NOISE.search(line):
            tqdm.write(f"{stage}  {line.rstrip()}")
    return process.wait()


def closing(params: Params) -> list[str]:
    """A line a task: which model is best, and where to look."""
    lines = []
    for task in params.registry:
        reports = Path("reports") / task
        comparison = json.loads((reports / "comparison.json").read_text())
        best, metric = comparison["best"], comparison["metric"]
        found = [
            f", {model['metrics'][metric]['value']:.3f} on test rows"
            for section in (comparison["classification"], comparison["masks"])
            for model in (section["models"] if section else ())
            if model["model"] == best and metric in model["metrics"]
        ]
        lines.append(f"{task}: best by {metric} is {best}{''.join(found)}; see {reports}/comparison.html")
    return [*lines, "all runs: `make ui`"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, required=True)
    sys.exit(main(parser.parse_args().jobs))
