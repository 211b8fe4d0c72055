"""Rebuild the whole pipeline, several stages at a time: `python stages/repro.py --jobs 2`. No stage of DVC's.

Each line of a stage's output bears the stage's name, so that those of two can be told apart, and a bar counts the
stages.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from medpipe import provenance, tracking
from medpipe.evaluation import wording
from medpipe.params import Params, load

DVC = (sys.executable, "-m", "dvc")
BEGUN = re.compile(r"Running stage '(.+)':$")
DONE = re.compile(r"Stage '(.+)' (didn't change|is cached)")
NOISE = re.compile(
    r"^(Updating|Generating) lock file|^To (track|enable)|^\tgit add|^\tdvc config|^Use `dvc push`|^\s*$"
)

LONGEST = ("mean", "late", "early", "stacked", "cascade")  # kinds of fusion


class Chain(NamedTuple):
    """Stages of a task, each behind those that it needs of the same chain."""

    name: str
    task: str
    stages: list[str]


def main(jobs: int) -> int:
    """How much of it failed."""
    params = load()
    listed = subprocess.run([*DVC, "stage", "list", "--name-only"], check=True, capture_output=True, text=True)
    with tqdm(total=len(listed.stdout.splitlines()), unit="stage", disable=None) as bar:
        seen: set[str] = set()
        failed = {} if run("code", ["code"], bar, seen) else {"code": "code"}
        for wave in waves(params) if not failed else ():
            chains = [chain for chain in wave if chain.stages and chain.task not in failed.values()]
            # Stage by stage: DVC locks the outputs of all that a target needs, even where nothing is to be run, so that
            # one chain would keep another from `code`.
            with ThreadPoolExecutor(jobs) as pool:
                ended = list(
                    pool.map(lambda chain: run(chain.name, ["--single-item", *chain.stages], bar, seen), chains)
                )
            failed |= {chain.name: chain.task for chain, well in zip(chains, ended, strict=True) if not well}
        if not failed and not run("dvc", [], bar, seen):  # what is left, and whether all is up to date
            failed = {"dvc": ""}
    tqdm.write("\n".join([f"{name}: failed; its own message is above" for name in failed] or closing(params)))
    return len(failed)


def waves(params: Params) -> list[list[Chain]]:
    """The stages of dvc.yaml in chains: those of a wave need none of each other, only of the waves before."""
    prepare = params.prepare
    of = {"phantom": params.phantom, "ingest": params.tasks, "clean": params.clean, "split": params.split}
    of |= {"explore": params.split, "compare": params.compare, "register": params.registry}

    def whole(task: str, *stages: str) -> list[str]:
        """Those of these stages that the task has, for a section without it gives none."""
        return [f"{stage}@{task}" for stage in stages if task in of[stage]]

    # What takes longest first: backbones; of fusions the means, then the heads that are trained.
    models = sorted(params.models, key=lambda name: params.models[name].architecture != "backbone")
    fusions = sorted(params.fusions, key=lambda name: LONGEST.index(params.fusions[name].kind))
    second = {name for name, fusion in params.fusions.items() if set(fusion.members) & set(params.fusions)}

    def fused(names: Iterable[str]) -> list[Chain]:
        return [Chain(n, params.fusions[n].task, [f"fuse@{n}", f"evaluate-fused@{n}"]) for n in names]

    return [
        [
            Chain(task, task, whole(task, "phantom", "ingest", "clean", "split")) for task in params.tasks
        ],
        [
            Chain(key, prepare[key].task, [f"prepare@{key}"])
            for key in sorted(prepare, key=lambda key: -getattr(prepare[key], "sizes", (0,))[-1])
        ],
        [
            *(Chain(name, params.models[name].task, [f"train@{name}", f"evaluate@{name}"]) for name in models),
            *(Chain(name, params.generators[name].task, [f"generate@{name}", f"measure@{name}"])
              for name in params.generators),
            *(Chain(f"explore@{task}", task, whole(task, "explore")) for task in params.tasks),
        ],
        [
            *fused(name for name in fusions if name not in second),
            *(Chain(f"probe@{task}", task, [f"probe@{task}"]) for task in params.probes),
        ],
        fused(name for name in fusions if name in second),
        [Chain(task, task, whole(task, "compare", "register")) for task in params.tasks],
    ]  # fmt: skip


def run(name: str, targets: list[str], bar: tqdm, seen: set[str]) -> bool:
    """Run the targets, by default all; whether that went well. Stages that were `seen` already do not count again."""
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
    return process.wait() == 0


def closing(params: Params) -> list[str]:
    """A line a task: which model is best, and where to look; one where it is refused. Then what `outdated` says."""
    lines = []
    for task in params.registry:
        reports = Path("reports") / task
        comparison = json.loads((reports / "comparison.json").read_text())
        best, metric = comparison["best"], comparison["metric"]
        found = [
            f", {wording.stated(model['metrics'][metric])} on test rows"
            for section in (comparison["classification"], comparison["masks"])
            for model in (section["models"] if section else ())
            if model["model"] == best and metric in model["metrics"]
        ]
        lines.append(
            f"{task}: best by {metric} is {wording.best(comparison)}{''.join(found)}; see {reports}/comparison.html"
        )
        champion = json.loads((reports / "champion.json").read_text())
        if not champion["decision"]["moves"]:
            lines.append(f"{task}: champion is {champion['name'] or 'none'}; {champion['decision']['why']}")
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
