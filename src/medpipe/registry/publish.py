"""What evaluate wrote of a model, put into the run that train opened."""

import json
from pathlib import Path

from medpipe.registry.models import log_model
from medpipe.tracking import Run


def publish(
    run: Run, *, model: Path, metrics: Path, report: Path, plots: Path, predictions: Path, max_pixels: int
) -> None:
    """Log the delivered model (a folder), its headline metrics as `test/<name>`, report, plots (a folder), predictions.

    The model gives what the report measured: it flips its images as the report says. Doing it again changes nothing.
    """
    model_id = log_model(run, model, max_pixels, json.loads(report.read_text())["flips"])
    values = json.loads(metrics.read_text())
    run.log_metrics({f"test/{name}": value for name, value in values.items() if value is not None}, model_id)
    run.log_artifacts(report, "report")
    run.log_artifacts(predictions, "predictions")  # by which a later model is compared with this one
    run.log_artifacts(plots, "plots")
