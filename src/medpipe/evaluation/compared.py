"""The comparison of a task as its stage writes it, from the files that the evaluations left."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from medpipe.errors import InputError
from medpipe.evaluation.compare import compare
from medpipe.evaluation.markdown import markdown
from medpipe.evaluation.page import html
from medpipe.evaluation.scaled import reduced
from medpipe.params import Params, Task, load_studies
from medpipe.registry.gate import conditions


def compared(root: Path, task: Task, params: Params) -> dict[str, Any]:
    """The comparison as `reports/<task>/comparison.json` of the repository `root` has it, of the evaluations there.

    Raises InputError, naming the file, where an evaluation is missing, and as `compare` does.
    """
    settings, folder = params.compare[task], root / "reports" / task
    predictions = root / "predictions" / task
    reports = {name: _json(folder / "models" / f"{name}.json") for name in settings.models}
    split = _json(folder / "split.json")
    comparison = {"task": task} | compare(
        {name: pd.read_parquet(_there(predictions / f"{name}.parquet")) for name in settings.models},
        reports,
        split,
        settings,
        params.evaluate,
        params.evaluate.seed,
    )
    best = comparison["best"]
    comparison["runs"] = {name: report["run"] for name, report in reports.items()}
    comparison["probes"] = _json(predictions / "probes.json") if task in params.probes else None
    comparison["gate"] = []
    if best and task in params.registry:
        comparison["gate"] = conditions(task, params.registry[task].gate, reports[best], comparison["probes"], {})
    comparison["reduced"] = reduced(params, (report["trained"] for report in reports.values()), split)
    comparison["published"] = _published(root / "studies.yaml", settings.models)
    return json.loads(json.dumps(comparison, allow_nan=False))


def texts(root: Path, task: Task, params: Params, comparison: dict[str, Any]) -> dict[str, str]:
    """What `reports/<task>/` holds of the comparison that `compared` gave: {file name: text}."""
    predictions, best = root / "predictions" / task, comparison["best"]
    drawn = [_json(predictions / f"{key}.json") for key, value in params.generators.items() if value.task == task]
    return {
        "comparison.json": json.dumps(comparison, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "comparison.md": markdown(comparison),
        "comparison.html": html(comparison, _json(predictions / f"{best}.json") if best else [], drawn),
    }


def _published(path: Path, models: Collection[str]) -> dict[str, dict[str, float]]:
    """{model: {metric: value}} of test rows, of the studies' rows that change nothing of a model's recipe."""
    found: dict[str, dict[str, float]] = {}
    for study in load_studies(path).values():
        for row in study.rows.values():
            if row.model in models and not row.set and row.published:
                found[row.model] = {name.removeprefix("test_"): value for name, value in row.published.items()}
    return found


def _json(path: Path) -> Any:
    return json.loads(_there(path).read_text())


def _there(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: not found; run the stage that writes it, or take the model out of compare")
    return path
