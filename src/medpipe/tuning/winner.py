"""The best trial as an experiment of DVC's, which trains and evaluates it as any other model."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import dvc.api
import pandas as pd

from medpipe import overrides
from medpipe.tuning.space import kept
from medpipe.tuning.study import Search


def experiment(search: Search, values: Mapping[str, Any]) -> tuple[str, float]:
    """The experiment's name and its model's value of the metric. It is run unless there is one of that name.

    Raises RuntimeError where DVC cannot run it.
    """
    changes = search.changes(search.best())
    digest = hashlib.sha256(json.dumps([search.study.study_name, changes], sort_keys=True).encode()).hexdigest()
    name = f"{search.name}-tuned-{digest[:8]}"
    if name not in _dvc("exp", "list", "--all-commits", "--name-only", read=True).split():
        arguments = overrides.arguments(values, search.name, changes)
        sets = [part for argument in arguments for part in ("--set-param", argument)]
        # In a copy: the workspace keeps its settings and models until the experiment is applied.
        _dvc("exp", "run", "--temp", "--name", name, *sets, f"evaluate@{search.name}")
    with dvc.api.open(f"models/{search.name}/history.csv", rev=name) as file:
        return name, kept(pd.read_csv(file, float_precision="round_trip"))[search.tuning.metric]


def _dvc(*arguments: str, read: bool = False) -> str:
    """What it printed, where it is to be read."""
    command = [sys.executable, "-m", "dvc", *arguments]
    found = subprocess.run(command, stdout=subprocess.PIPE if read else None, text=True)
    if found.returncode:
        raise RuntimeError(f"`dvc {' '.join(arguments)}` failed; its own message is above")
    return found.stdout
