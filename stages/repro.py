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

from medpipe import provenance, tracking
from medpipe.evaluation import page
from medpipe.params import Mean, Params, load

DVC = (sys.executable, "-m", "dvc")
BEGUN = re.compile(r"Running stage '(.+)':$")
DONE = re.compile(r"Stage '(.+)' (didn't change|is cached)")
NOISE = re.compile(
    r"^(Updating|Generating) lock file|^To (track|enable)|^\tgit add|^\tdvc config|^Use `dvc push`|^\s*$"
)


def main(jobs: int) -> int:
    """How much of it failed."""
    params = load()
    listed = subprocess.run([*DVC, "stage", "list", "--name-only"], check=True, capture_output=True, text=True)
    with tqdm(total=len(listed.stdout.splitlines()), unit="stage", disable=None) as bar:
        seen: set[str] = set()
        failed = run("code", ["code"], bar, seen)
        if not failed:
            # Stage by stage: DVC locks the outputs of all that a target needs, even where nothing is to be run, so that
            # one task would keep another from `code`.
            tasks = {task: ["--single-item", *stages_of(task, params)] for task in params.registry}
            with ThreadPoolExecutor(jobs) as pool:
                ended = list(pool.map(lambda task: run(task, tasks[task], bar, seen), tasks))
            failed = [name for names in ended for name in names]
        if not failed:  # what is left, and whether all is up to date
            failed = run("dvc", [], bar, seen)
    tqdm.write("\n".join([f"{name}: failed; its own message is above" for name in failed] or closing(params)))
    return len(failed)


def stages_of(task: str, params: Params) -> list[str]:
    """The task's stages of dvc.yaml, each behind those that it needs."""
    prepared, models, fusions = (
        [name for name, settings in section.items() if settings.task == task]
        for section in (params.prepare, params.models, params.fusions)
    )
    fusions.sort(key=lambda name: isinstance(params.fusions[name], Mean))  # which may be of other fusions
    return [
        *(f"{stage}@{task}" for stage in ("phantom", "ingest", "clean", "split", "explore")),
        *(f"prepare@{name}" for name in prepared),
        *(f"{stage}@{name}" for name in models for stage in ("train", "evaluate")),
        *(f"{stage}@{name}" for name in fusions for stage in ("fuse", "evaluate-fused")),
        *(f"{stage}@{task}" for stage in ("compare", "register")),
    ]


def run(name: str, targets: list[str], bar: tqdm, seen: set[str]) -> list[str]:
    """Run the targets, by default all; [name] where that fails. Stages that were `seen` already do not count again."""
    command = [*DVC, "--wait-for-lock", "repro", *targets]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert process.stdout is not None
    stage = name
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
    return [name] if process.wait() else []


def closing(params: Params) -> list[str]:
    """A line a task: which model is best, and where to look. Then what `outdated` says."""
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
        lines.append(
            f"{task}: best by {metric} is {page.best(comparison)}{''.join(found)}; see {reports}/comparison.html"
        )
    return [*lines, *outdated(params), "all runs: `make ui`"]


def outdated(params: Params) -> list[str]:
    """A line of warning for models that another backend or other libraries made than would now: DVC reruns none."""
    made_by = {
        f"{stage}@{name}": tracking.read(Path("models") / name)["tags"]
        for stage, names in (("train", params.models), ("fuse", params.fusions))
        for name in names
    }
    lines = []
    for said, stages in provenance.grouped(made_by, provenance.chosen()).items():
        names = ", ".join(stage.partition("@")[2] for stage in stages)
        trained = [stage for stage in stages if stage.startswith("train@")]  # on which the fusions follow
        lines.append(
            f"WARNING: nothing was run again for it, but {names} are of other versions: {said}; "
            f"`dvc repro --single-item --force {' '.join(trained or stages)}` and then `make repro` make them anew"
        )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, required=True)
    sys.exit(main(parser.parse_args().jobs))
