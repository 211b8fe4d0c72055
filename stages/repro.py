"""Rebuild the whole pipeline, several stages at a time: `python stages/repro.py`. No stage of DVC's.

Each line of a stage's output bears the stage's name, so that those of two can be told apart, and a bar counts the
stages.
"""

import argparse
import json
import re
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

import own_code  # noqa: F401
from medpipe import driver, gpus, provenance, tracking
from medpipe.evaluation import wording
from medpipe.params import Params, load

BEGUN = re.compile(r"Running stage '(.+)':$")
DONE = re.compile(r"Stage '(.+)' (didn't change|is cached)")
NOISE = re.compile(
    r"^(Updating|Generating) lock file|^To (track|enable)|^\tgit add|^\tdvc config|^Use `dvc push`|^\s*$"
)


class Chain(NamedTuple):
    """Stages of one call of DVC, and the chains that they need, by the last stage of each."""

    stages: list[str]
    needs: set[str]

    @property
    def name(self) -> str:
        return self.stages[-1]


def main(jobs: int) -> int:
    """How much of it failed."""
    params = load()
    listed = subprocess.run(
        [*driver.DVC, "stage", "list", "--name-only"], check=False, stdout=subprocess.PIPE, text=True
    )
    if listed.returncode:
        print("dvc stage list: failed; its own message is above")
        return 1
    with tqdm(total=len(listed.stdout.splitlines()), unit="stage", disable=None) as bar:
        seen: set[str] = set()
        failed = [] if run("code", ["code"], bar, seen) else ["code"]
        # Where nothing is to be done one look says so; a call of DVC for each chain would take half a minute.
        if not failed and subprocess.run([*driver.DVC, "status", "--quiet"], check=False).returncode:
            failed = run_all(chains(params), jobs, bar, seen)
        if not failed and not run("dvc", [], bar, seen):  # what is left, and whether all is up to date
            failed = ["dvc"]
    tqdm.write("\n".join([f"{name}: failed; its own message is above" for name in failed] or closing(params)))
    return len(failed)


def run_all(chains: list[Chain], jobs: int, bar: tqdm, seen: set[str]) -> list[str]:
    """Run the chains, `jobs` at a time, of those that can begin the first; what needs one that failed is left out.

    Returns the names of those that failed.
    """
    places = {chain.name: place for place, chain in enumerate(chains)}
    order = TopologicalSorter({chain.name: chain.needs for chain in chains})
    order.prepare()
    ready: set[str] = set()
    running: dict[Future[bool], str] = {}
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        while order.is_active():
            ready.update(order.get_ready())
            while ready and len(running) < jobs:
                name = min(ready, key=places.__getitem__)
                ready.remove(name)
                # Stage by stage: DVC locks the outputs of all that a target needs, even where nothing is to be run, so
                # that one chain would keep another from `code`.
                targets = ["--single-item", *chains[places[name]].stages]
                running[pool.submit(run, name, targets, bar, seen)] = name
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                if future.result():
                    order.done(name)
                else:
                    failed.append(name)
    return failed


def chains(params: Params) -> list[Chain]:
    """The stages of dvc.yaml, the most urgent first: what much else waits for, then what takes long."""
    sections = {"phantom": params.phantom, "ingest": params.tasks, "clean": params.clean, "split": params.split}
    sections |= {"probe": params.probes, "compare": params.compare, "register": params.registry}

    def whole(task: str, *stages: str) -> list[str]:
        """Those of these stages that the task has, for a section without it gives none."""
        return [f"{stage}@{task}" for stage in stages if task in sections[stage]]

    data = {
        task: [
            *whole(task, "phantom", "ingest", "clean", "split"),
            *(f"prepare@{key}" for key, variant in params.prepare.items() if variant.task == task),
        ]
        for task in params.tasks
    }
    judged = {name: f"evaluate@{name}" for name in params.models}
    judged |= {name: f"evaluate-fused@{name}" for name in params.fusions}

    trained = {
        name: Chain(
            [f"train@{name}", judged[name]],
            {data[model.task][-1], *(f"measure@{key}" for key in model.inputs if key in params.generators)},
        )
        for name, model in params.models.items()
    }
    backbones = {name for name, model in params.models.items() if model.architecture == "backbone"}
    return [
        *(Chain(stages, set()) for stages in data.values()),
        *(chain for name, chain in trained.items() if name in backbones),
        *(
            Chain([f"fuse@{name}", judged[name]], {judged[member] for member in fusion.members})
            for name, fusion in params.fusions.items()
        ),
        *(chain for name, chain in trained.items() if name not in backbones),
        *(
            Chain([f"generate@{name}", f"measure@{name}"], {data[generator.task][-1]})
            for name, generator in params.generators.items()
        ),
        *(Chain([f"probe@{task}"], {judged[name] for name in probe.models}) for task, probe in params.probes.items()),
        *(
            Chain(
                whole(task, "compare", "register"),
                {judged[name] for name, model in params.all_models.items() if model.task == task}
                | {*whole(task, "probe")}
                | {f"measure@{name}" for name, generator in params.generators.items() if generator.task == task},
            )
            for task in params.compare
        ),
        *(Chain([f"explore@{task}"], {data[task][-1]}) for task in params.split),
    ]


def run(name: str, targets: list[str], bar: tqdm, seen: set[str]) -> bool:
    """Run the targets, by default all; whether that went well. Stages that were `seen` already do not count again."""
    process = driver.start(Path.cwd(), "repro", *targets)
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
    parser.add_argument("--jobs", type=int, help="by default 2; with GPUs one more than those, for what needs none")
    jobs = parser.parse_args().jobs or max(2, len(gpus.usable()) + 1)
    resumes = "`make repro` resumes: interrupted trainings continue from their last epoch"
    with driver.interruptible(resumes), driver.alone(Path.cwd()):
        sys.exit(main(jobs))
