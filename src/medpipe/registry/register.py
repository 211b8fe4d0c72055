"""The best model of a task as a version of the task's registered model, with the alias that services load it by."""

import json
from pathlib import Path
from typing import Any

from medpipe import tracking
from medpipe.registry.models import promote
from medpipe.registry.publish import description

ALIAS = "champion"


def register(name: str, registered: str, model: Path, metrics: Path, *, champion: bool) -> dict[str, Any]:
    """Register model `name`, delivered in folder `model`, as `registered`; returns what champion.json says of it.

    `champion`: whether the alias moves to it. Raises InputError where its evaluation has not logged it.
    """
    run = tracking.reopen(model)
    values = {key: value for key, value in json.loads(metrics.read_text()).items() if value is not None}
    tags = {"model": name, "medpipe.run": run.key}
    if commit := run.record["tags"].get("mlflow.source.git.commit"):
        tags["git.commit"] = commit
    promote(run, registered, description(run.record, values), tags, ALIAS if champion else None)
    return {"registered": registered, "alias": ALIAS, "name": name, "run": run.key, "metrics": values}
