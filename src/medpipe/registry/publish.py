"""What evaluate wrote of a model, put into the run that train opened."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medpipe.models import delivery, external, ood
from medpipe.registry.models import log_model
from medpipe.tracking import Run


def publish(
    run: Run,
    *,
    model: Path,
    graph: Path,
    detector: Path,
    metrics: Path,
    report: Path,
    plots: Path,
    predictions: Path,
    max_pixels: int,
) -> None:
    """Log the delivered model (a folder), its headline metrics as `test/<name>`, report, plots (a folder), predictions.

    The model as ONNX, its `graph` (a file), with its out-of-distribution `detector` (a file) gives what the report
    measured: it does to its outputs what the report says under `served`. Doing it again changes nothing. Raises
    InputError as `external.referred` does of a fusion's graph.
    """
    with TemporaryDirectory() as name:
        served = Path(name) / model.name
        files = {file: model / file for file in delivery.files(model)}
        files |= {Path(file.name): file for file in external.referred(graph)}
        for file, source in (files | {Path(delivery.GRAPH): graph, Path(ood.FILE): detector}).items():
            (served / file).parent.mkdir(parents=True, exist_ok=True)
            (served / file).symlink_to(source.resolve())
        model_id = log_model(run, served, max_pixels, json.loads(report.read_text())["served"])
    values = json.loads(metrics.read_text())
    run.log_metrics({f"test/{name}": value for name, value in values.items() if value is not None}, model_id)
    run.describe(description(run.record, values))
    run.log_artifacts(report, "report")
    run.log_artifacts(predictions, "predictions")  # by which a later model is compared with this one
    run.log_artifacts(plots, "plots")


def description(record: Mapping[str, Any], metrics: Mapping[str, float | None]) -> str:
    """What MLflow shows above a run and above a version, of the run's record and its headline `metrics`."""
    tags, prefix = record["tags"], "medpipe.data."
    figures = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if value is not None)
    data = ", ".join(sorted(tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)))
    commit = tags.get("mlflow.source.git.commit", "an unknown commit")
    changed = ", with changes that are not committed" if tags.get("medpipe.dirty") == "true" else ""
    return f"`{record['name']}` on the test rows: {figures}.\n\nTrained on {data} at {commit}{changed}."
