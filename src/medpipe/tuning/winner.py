"""The best trial as an experiment of DVC's, which trains and evaluates it as any other model."""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from medpipe import overrides
from medpipe.params import checked
from medpipe.studies.copies import Snapshot
from medpipe.studies.results import output, references
from medpipe.tuning.space import kept
from medpipe.tuning.study import Search


def experiment(snapshot: Snapshot, search: Search, values: Mapping[str, Any]) -> tuple[str, float]:
    """The experiment's name and its model's value of the metric. It is run, of the snapshot, unless there is one of
    that name.

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
    return name, found[search.tuning.metric]
