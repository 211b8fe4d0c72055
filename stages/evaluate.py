"""Evaluate one delivered model: `python stages/evaluate.py skin-b4`. The only stage that reads test rows."""

import json
import sys
from pathlib import Path

import pandas as pd

from medpipe import atomic, backend, tracking
from medpipe.data.arrays import load_task
from medpipe.data.vocabulary import VOCABULARY
from medpipe.evaluation.evaluate import evaluate
from medpipe.evaluation.plots import plot_all
from medpipe.models import delivery
from medpipe.params import load
from medpipe.registry.publish import publish


def main(name: str) -> None:
    params = load()
    backend.start(params.seed, "float32")
    folder = Path("models") / name
    delivered, model = delivery.read(folder)
    task = delivered.task
    rows, arrays = load_task(Path("data/split") / task, [Path("data/prepared") / key for key in delivered.inputs])
    out_of_fold = delivery.OutOfFold.read(folder)
    found = evaluate(delivered, model, rows, arrays, VOCABULARY[task], params.evaluate, params.seed, out_of_fold)
    history = pd.read_csv(folder / "history.csv") if (folder / "history.csv").exists() else None
    run = tracking.reopen(folder)

    metrics, report = Path("metrics") / task / f"{name}.json", Path("reports") / task / "models" / f"{name}.json"
    plots = Path("plots") / task / name
    with atomic.file(Path("predictions") / task / f"{name}.parquet") as path:
        found.table.to_parquet(path, index=False)
    for target, content in ((metrics, found.headline), (report, {"run": run.key} | found.report)):
        with atomic.file(target) as path:
            path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    with atomic.folder(plots) as path:
        plot_all(path, found.report, found.table, history, found.examples, found.shap)
    publish(run, model=folder, metrics=metrics, report=report, plots=plots, max_pixels=params.ingest.max_pixels)
    print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.headline.items() if value is not None))


if __name__ == "__main__":
    main(sys.argv[1])
