"""The best trial as an experiment of DVC's, which trains and evaluates it as any other model."""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from medpipe import overrides, provenance, tracking
from medpipe.params import checked
from medpipe.studies.copies import Snapshot
from medpipe.studies.results import output, references
from medpipe.tuning.space import kept
from medpipe.tuning.study import Search


def experiment(snapshot: Snapshot, search: Search, values: Mapping[str, Any]) -> tuple[str, float, dict[str, str]]:
    """The experiment's name, its model's value of the metric, and what made it (`provenance.kernels`). It is run, of
    the snapshot, unless there is one of that name.

    Raises RuntimeError where it fails.
    """
    root, changes = snapshot.root, search.changes(search.best())
    digest = hashlib.sha256(json.dumps([search.study.study_name, changes], sort_keys=True).encode()).hexdigest()
    name = f"{search.name}-tuned-{digest[:8]}"
    if name not in references(root):
        arguments = overrides.arguments(values, search.name, changes)
        if log := snapshot.run(name, f"evaluate@{search.name}", arguments):
            raise RuntimeError(f"the experiment {name} failed, see {log}")
    history = io.BytesIO(output(root, f"models/{search.name}/history.csv", name))
    rule = checked(overrides.change(values, search.name, changes)).models[search.name]
    found = kept(pd.read_csv(history, float_precision="round_trip"), rule.early_stopping)
    tags = json.loads(output(root, f"models/{search.name}/{tracking.RECORD}", name))["tags"]
    made_by = {tag.removeprefix(provenance.VERSION): value for tag, value in tags.items()}
    return name, found[search.tuning.metric], made_by | {"processor": tags[provenance.PROCESSOR]}


def disagreement(search: Search, value: float, made_by: Mapping[str, str], deterministic: bool) -> str:
    """How the experiment's `value` differs from the best trial's; "" where it does not.

    Raises RuntimeError where the same libraries on the same processor, told to be `deterministic`, gave other bits:
    elsewhere sums are split and rounded otherwise, and an epoch may be chosen by that.
    """
    best = search.best()
    if value == best.value:
        return ""
    figures = f"the experiment's {search.tuning.metric} is {value}, the trial's {best.value}"
    trial = best.user_attrs["made_by"]
    unlike = [f"{key}: {trial[key]}, then {made_by.get(key)}" for key in trial if trial[key] != made_by.get(key)]
    if deterministic and not unlike:
        raise RuntimeError(f"{figures}, so neither can be trusted to come out again")
    return f"{figures} ({'; '.join(unlike) or 'not deterministic'})"
