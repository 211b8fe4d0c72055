"""Compare the models of a task that evaluation.yaml lists: `python stages/compare.py skin`."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from medpipe import atomic
from medpipe.errors import InputError
from medpipe.evaluation import for_whom, page
from medpipe.evaluation.compare import compare
from medpipe.params import Task, load


def main(task: Task) -> None:
    params = load()
    settings = params.compare[task]
    reports = Path("reports") / task
    # DVC leaves the files of a model that was taken out of `compare`, and counts them to the folders that it was in.
    for folder in (Path("predictions") / task, reports / "models", Path("metrics") / task):
        for path in folder.glob("*.*"):
            if path.stem not in (*settings.models, *(["probes"] if task in params.probes else [])):
                path.unlink()
    comparison = {"task": task} | compare(
        {name: pd.read_parquet(_there(Path("predictions") / task / f"{name}.parquet")) for name in settings.models},
        {name: _json(reports / "models" / f"{name}.json") for name in settings.models},
        _json(reports / "split.json"),
        settings,
        params.evaluate,
        params.evaluate.seed,
    )
    comparison["probes"] = _json(reports / "probes.json") if task in params.probes else None
    for end, text in (
        ("json", json.dumps(comparison, indent=1, ensure_ascii=False, allow_nan=False) + "\n"),
        ("md", page.markdown(comparison) + for_whom.markdown(comparison)),
        ("html", page.html(comparison)),
    ):
        with atomic.file(reports / f"comparison.{end}") as tmp:
            tmp.write_text(text, encoding="utf-8")
    print(f"{task}: best by {comparison['metric']} is {page.best(comparison)}, of {', '.join(comparison['ranking'])}")


def _json(path: Path) -> dict[str, Any]:
    return json.loads(_there(path).read_text())


def _there(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: not found; run the stage that writes it, or take the model out of compare")
    return path


if __name__ == "__main__":
    main(sys.argv[1])
