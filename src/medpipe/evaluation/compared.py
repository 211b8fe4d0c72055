"""The comparison of a task as its stage writes it, from the files that the evaluations left."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from medpipe.errors import InputError
from medpipe.evaluation import for_whom, page
from medpipe.evaluation.compare import compare
from medpipe.params import Params, Task


def texts(root: Path, task: Task, params: Params) -> tuple[dict[str, Any], dict[str, str]]:
    """The comparison, and what `reports/<task>/` of the repository `root` holds of it: {file name: text}.

    Raises InputError, naming the file, where an evaluation is missing, and as `compare` does.
    """
    settings, reports = params.compare[task], root / "reports" / task
    comparison = {"task": task} | compare(
        {name: pd.read_parquet(_there(root / "predictions" / task / f"{name}.parquet")) for name in settings.models},
        {name: _json(reports / "models" / f"{name}.json") for name in settings.models},
        _json(reports / "split.json"),
        settings,
        params.evaluate,
        params.evaluate.seed,
    )
    comparison["probes"] = _json(reports / "probes.json") if task in params.probes else None
    return comparison, {
        "comparison.json": json.dumps(comparison, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "comparison.md": page.markdown(comparison) + for_whom.markdown(comparison),
        "comparison.html": page.html(comparison),
    }


def _json(path: Path) -> dict[str, Any]:
    return json.loads(_there(path).read_text())


def _there(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: not found; run the stage that writes it, or take the model out of compare")
    return path
