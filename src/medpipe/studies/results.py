"""What experiments left, read from git and DVC: nothing is taken from the workspace but what it is compared with."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medpipe.params import FILES, parse, read_file
from medpipe.studies.copies import git
from medpipe.studies.plan import Experiment


@dataclass(frozen=True)
class Result:
    """A finished experiment: its commit, prediction table, report, and the record of its training."""

    rev: str
    table: pd.DataFrame
    report: dict[str, Any]
    record: dict[str, Any]


def references(root: Path) -> dict[str, list[tuple[str, str]]]:
    """(reference, commit) of the experiments of each name, the latest first. A name may stand on several commits."""
    found: dict[str, list[tuple[str, str]]] = {}
    listed = git(root, "for-each-ref", "--sort=-committerdate", "--format=%(refname) %(objectname)", "refs/exps")
    for line in listed.splitlines():
        reference, commit = line.split(" ")
        parts = reference.split("/")
        if len(parts) == 5:  # refs/exps/<ab>/<rest of the commit that it began from>/<name>
            found.setdefault(parts[-1], []).append((reference, commit))
    return found


class Workspace:
    """The project as it is when this is made, which a finished experiment must have been made from to count."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.digests: dict[str, str | None] = {}
        self.files: dict[str, dict[str, Any]] = {}
        for file in ("dvc.yaml", "reports/code.json"):  # now, as they may be edited while experiments run
            self.settings(file)

    def settings(self, file: str) -> dict[str, Any]:
        """What the YAML file says; nothing where there is none."""
        if file not in self.files:
            path = self.root / file
            self.files[file] = read_file(path) if path.exists() else {}
        return self.files[file]

    def find(self, experiment: Experiment) -> str | None:
        """The commit of the latest experiment of that name which now would come out the same; None without one."""
        candidates = references(self.root).get(experiment.name, [])
        return next((commit for _, commit in candidates if self.would_repeat(experiment, commit)), None)

    def would_repeat(self, experiment: Experiment, commit: str) -> bool:
        """Whether the stages behind the experiment's evaluation had the definitions, parameters, code and data of now.

        By its dvc.lock, as DVC decides what to run again.
        """
        lock = parse(git(self.root, "show", f"{commit}:./dvc.lock"), "dvc.lock")["stages"]
        stages = parse(git(self.root, "show", f"{commit}:./dvc.yaml"), "dvc.yaml")["stages"]
        makers = {out["path"]: name for name, stage in lock.items() for out in stage.get("outs", ())}
        todo, seen = [f"evaluate@{experiment.model}"], set()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            group, locked = name.partition("@")[0], lock.get(name)
            if locked is None or stages.get(group) != self.settings("dvc.yaml")["stages"].get(group):
                return False
            for file, values in locked.get("params", {}).items():
                now = experiment.params if file in FILES else self.settings(file)
                if any(_value(now, key) != value for key, value in values.items()):
                    return False
            for dep in locked.get("deps", ()):
                if dep["path"] in makers:
                    todo.append(makers[dep["path"]])
                elif self.digest(dep["path"], name) != dep["md5"]:
                    return False
        return True

    def digest(self, path: str, stage: str) -> str | None:
        """DVC's hash of what now lies at `path`, on which `stage` depends; None where there is nothing."""
        if path not in self.digests:
            file = self.root / path
            if file.is_file():
                self.digests[path] = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
            elif file.is_dir():  # an archive: DVC keeps the hashes of its files
                from dvc.repo import Repo

                with Repo(str(self.root), _wait_for_lock=True) as repo, repo.lock:
                    deps = [dep for found in repo.stage.collect(stage) for dep in found.deps]
                    self.digests[path] = next((dep.get_hash().value for dep in deps if dep.def_path == path), None)
            else:
                self.digests[path] = None
        return self.digests[path]


def _value(settings: Mapping[str, Any], key: str) -> Any:
    """What stands at a dotted key; None where there is nothing."""
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def load_result(root: Path, experiment: Experiment, commit: str) -> Result:
    """What the experiment's evaluation and training wrote."""
    task = experiment.params["models"][experiment.model]["task"]
    table = pd.read_parquet(io.BytesIO(output(root, f"predictions/{task}/{experiment.model}.parquet", commit)))
    report = json.loads(output(root, f"reports/{task}/models/{experiment.model}.json", commit))
    record = json.loads(output(root, f"models/{experiment.model}/run.json", commit))
    return Result(commit, table, report, record)


def output(root: Path, path: str, revision: str) -> bytes:
    """What a file of the project at `root` held in a commit or experiment: from git, DVC's cache or its remote."""
    import dvc.api

    place = git(root, "rev-parse", "--show-prefix") + path  # in the repository, of which the project may be a folder
    content: bytes = dvc.api.read(place, repo=str(root), rev=revision, mode="rb")
    return content
