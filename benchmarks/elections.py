"""Two clones that elect at once against one MLflow store, and what may go wrong there, with real processes:

    python benchmarks/elections.py STORE [--lease SECONDS]

STORE is what MLFLOW_TRACKING_URI would be, as http://server:5000. Two clones of a project each hold a model, with which
they stand for the same registered model: one gets 93 % of the test rows right, the other 60 %. However they meet, the
better one has to end as champion. The models' files are not logged, since an election reads none. What the script makes
in the store has a name of its own and is removed, but for an experiment, which MLflow keeps in its bin. Ends with 1
where something does not hold.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from medpipe import params, store, store_lock, tracking
from medpipe.errors import InputError
from medpipe.registry.register import elect
from medpipe.registry.restore import restore_champion

REPOSITORY = Path(__file__).parents[1]
CLASSES = ["mel", "nv"]
RIGHT = {"better": 0.93, "worse": 0.60}
ROUNDS = 4


# ------------------------------------------------------------------------------------------------ a clone's process
def make(root: Path, task: str, name: str) -> None:
    """What training and evaluation leave of a model, in the clone and in the store."""
    rng, truth = np.random.default_rng(0), np.arange(400) % 2
    said = np.where(rng.random(400) < RIGHT[name], truth, 1 - truth)
    table = pd.DataFrame({"id": [f"{i:03d}" for i in range(400)], "group": [f"g{i}" for i in range(400)]})
    table = table.assign(set="test", label=np.array(CLASSES)[truth])
    table[[f"p_{label}" for label in CLASSES]] = np.eye(2)[said]
    (root / name).mkdir()
    with tracking.begin(task, name, {}, {"split": "5f3a"}, root / name) as run:
        run.write(root / "models" / name)
        (root / "metrics" / task).mkdir(parents=True)
        (root / "metrics" / task / f"{name}.json").write_text(json.dumps({"macro_f1": float((said == truth).mean())}))
        report = {"model": name, "run": run.key, "kind": "classification", "classes": CLASSES, "only": None}
        (root / name / f"{name}.json").write_text(json.dumps(report | {"sets": {"test": {"subgroups": {}}}}))
        table.to_parquet(root / name / f"{name}.parquet")
        run.log_artifacts(root / name / f"{name}.json", "report")
        run.log_artifacts(root / name / f"{name}.parquet", "predictions")
        experiment = run.client.get_run(run.run_id).info.experiment_id
        logged = run.client.create_logged_model(experiment, name, run.run_id)
        run.client.finalize_logged_model(logged.model_id, "READY")


def act(root: Path, task: str, name: str, command: str) -> Any:
    """What a clone is told to do, and what comes of it."""
    if command.startswith("elect"):
        settings = params.load(REPOSITORY)
        skin = {section: getattr(settings, section)["skin"] for section in ("tasks", "compare", "registry")}
        skin["registry"] = skin["registry"].model_copy(update={"name": task})
        settings = settings.model_copy(update={section: {task: values} for section, values in skin.items()})

        def texts(decision: dict[str, Any]) -> dict[str, str]:
            if command == "elect slowly":  # it has decided, and is about to move the alias
                print("has decided", flush=True)
                sys.stdin.readline()
            return {"card": decision["why"]}

        found = elect(name, task, root, settings, texts, None, move=True)
        (root / "reports" / task).mkdir(parents=True, exist_ok=True)
        (root / "reports" / task / "champion.json").write_text(json.dumps(found))
        return found["decision"]["why"]
    if command == "make ui":
        place, run = root / "reports" / task / "champion.json", tracking.read(root / "models" / name)["key"]
        return restore_champion(root, place, {name: run})
    assert command == "rebuild the same run"
    return tracking.reopen(root / "same").run_id


def child(root: Path, task: str, name: str, lease: float) -> None:
    store_lock.LEASE = lease
    make(root, task, name)
    print("{}", flush=True)
    for line in sys.stdin:
        try:
            came = act(root, task, name, line.strip())
        except InputError as error:
            came = f"error: {error}"
        print(json.dumps({"came": came}), flush=True)


# ------------------------------------------------------------------------------------------------ the story
class Clone:
    def __init__(self, folder: Path, task: str, name: str, uri: str, lease: float) -> None:
        self.root, self.name = folder / f"{name}-{uuid.uuid4().hex[:4]}", name
        self.root.mkdir()
        named = {"DVC_ROOT": str(self.root), "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(REPOSITORY / "src")}
        self.process = subprocess.Popen(
            [sys.executable, __file__, uri, "--lease", str(lease), "--child", str(self.root), task, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | named,
        )  # fmt: skip
        atexit.register(self.process.kill)  # a suspended one would stay for ever

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def hear(self, *wanted: str) -> str:
        """What it says next: what came of what it was told, or a line with one of `wanted` in it."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("{") or any(word in line for word in wanted):
                said = str(json.loads(line).get("came", "is there") if line.startswith("{") else line.strip())
                print(f"  {self.name}: {said}", flush=True)
                return said
        raise SystemExit(f"{self.name} ended: {''.join(lines)}")


def tell_story(uri: str, lease: float) -> None:
    task = f"elections-{uuid.uuid4().hex[:8]}"
    os.environ["MLFLOW_TRACKING_URI"] = uri
    client = store.connect()
    print(f"store {store.address(client)}, registered model {task}, a lease of {lease:g} s")

    def champion(expected: str) -> None:
        found = client.get_model_version_by_alias(task, "champion").tags["model"]
        print(f"  {task}@champion is the {found} one", flush=True)
        if found != expected:
            raise SystemExit(f"the champion should be the {expected} one")

    def open_election() -> None:
        for alias in ("champion", "best"):
            client.delete_registered_model_alias(task, alias)

    with TemporaryDirectory() as folder:
        better, worse = both = [Clone(Path(folder), task, name, uri, lease) for name in RIGHT]
        for clone in both:
            clone.hear()
        for first, second in ((worse, better), (better, worse)):
            print(f"the {first.name} one has decided and is about to move the alias when the {second.name} one begins")
            first.tell("elect slowly")
            first.hear("has decided")
            second.tell("elect")
            waits = "waiting for" in second.hear("waiting for")
            first.tell("")
            first.hear()
            if waits:
                second.hear()
            champion("better")
            open_election()
        for number in range(1, ROUNDS + 1):
            print(f"both at once, round {number}")
            for clone in both:
                clone.tell("elect")
            for clone in both:
                clone.hear()
            champion("better")
            if number < ROUNDS:
                open_election()
        print("an older clone, whose champion.json names its own model, runs `make ui`")
        named = {"name": "worse", "registered": task, "run": tracking.read(worse.root / "models/worse")["key"]}
        place = worse.root / "reports" / task / "champion.json"
        place.write_text(json.dumps(named | {"decision": {"candidate_run": named["run"]}}))
        worse.tell("make ui")
        worse.hear()
        champion("better")
        print("both rebuild a run that the store lacks, as after `git clone` of the same repository")
        record = tracking.read(better.root / "models/better")
        record |= {"key": uuid.uuid4().hex}
        record["tags"] |= {tracking.KEY: record["key"]}
        for clone in both:
            (clone.root / "same").mkdir()
            (clone.root / "same" / tracking.RECORD).write_text(json.dumps(record))
        for clone in both:
            clone.tell("rebuild the same run")
        if len({clone.hear() for clone in both}) != 1:
            raise SystemExit("one run was made twice")
        print("a process is suspended within its election (SIGSTOP), and goes on after another election")
        worse.tell("elect slowly")
        worse.hear("has decided")
        worse.process.send_signal(signal.SIGSTOP)
        better.tell("elect")
        better.hear("taken for dead")
        better.hear()
        worse.process.send_signal(signal.SIGCONT)
        worse.tell("")
        if "others went on" not in worse.hear():
            raise SystemExit("it should have learnt that it lost the lock")
        champion("better")
        print("a process is killed (SIGKILL) within its election")
        worse.tell("elect slowly")
        worse.hear("has decided")
        worse.process.kill()
        began = time.monotonic()
        better.tell("elect")
        better.hear("waiting for")
        better.hear("taken for dead")
        better.hear()
        print(f"  the next election is over after {time.monotonic() - began:.1f} s")
        champion("better")
        better.process.stdin.close()  # type: ignore[union-attr]
        for clone in both:
            clone.process.wait()
    client.delete_registered_model(task)
    client.delete_prompt(f"{task}.elections")
    client.delete_experiment(client.get_experiment_by_name(task).experiment_id)
    print("all of it held")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--lease", type=float, default=store_lock.LEASE)
    parser.add_argument("--child", nargs=3, metavar=("ROOT", "TASK", "NAME"))
    chosen = parser.parse_args()
    if chosen.child:
        child(Path(chosen.child[0]), *chosen.child[1:], chosen.lease)
    else:
        tell_story(chosen.store, chosen.lease)
