"""What an evaluation leaves: the outputs of its stage, and what MLflow shows in the model's run."""

import json
import sys
from pathlib import Path

import pandas as pd

from medpipe import atomic, provenance
from medpipe.evaluation.evaluate import Evaluation
from medpipe.evaluation.plots import plot_all
from medpipe.evaluation.scaled import trained
from medpipe.models import delivery, external, ood
from medpipe.registry.publish import publish
from medpipe.tracking import Run


def write(found: Evaluation, run: Run, max_pixels: int) -> str:
    """Write table, worst errors, ONNX file, detector, metrics, report and plots of the model that models/ holds.

    They are published with the model in `run`. Says loudly where another backend or library evaluates than has trained.
    Returns the headline as a line. Images of more than `max_pixels` pixels will be refused by the published model.
    """
    name, task = run.record["name"], run.record["task"]
    differences = provenance.differences(run.record["tags"])
    run.tag("evaluated", differences or "by the versions that trained it")
    if differences:
        print(f"WARNING: {name}: figures are not those of what trained it: {differences}", file=sys.stderr, flush=True)
    folder = Path("models") / name
    delivered = delivery.read_recipe(folder)
    history = pd.read_csv(folder / "history.csv") if (folder / "history.csv").exists() else None
    metrics, report = Path("metrics") / task / f"{name}.json", Path("reports") / task / "models" / f"{name}.json"
    plots = Path("plots") / task / name
    predictions = Path("predictions") / task / f"{name}.parquet"
    with atomic.file(predictions) as path:
        found.table.to_parquet(path, index=False)
    graph, detector = predictions.with_suffix(".onnx"), predictions.with_suffix(".npz")
    with atomic.file(graph) as path:
        members = delivered.settings.get("members", ())
        path.write_bytes(external.refer(found.graph, [graph.with_name(f"{member}.onnx") for member in members]))
    with atomic.file(detector) as path:
        ood.write(found.detector, path)
    errors, whole = predictions.with_suffix(".json"), {"run": run.key, "trained": trained(delivered)} | found.report
    for target, content in ((metrics, found.headline), (report, whole), (errors, found.errors)):
        with atomic.file(target) as path:
            path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    with atomic.folder(plots) as path:
        plot_all(path, found.report, found.table, history, found.examples, found.shap)
    places = {"model": folder, "metrics": metrics, "report": report, "plots": plots, "predictions": predictions}
    publish(run, **places, graph=graph, detector=detector, max_pixels=max_pixels)
    return f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.headline.items() if value is not None)
