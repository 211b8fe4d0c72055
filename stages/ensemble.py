"""Make and evaluate the weighted mean of trained models: `python stages/ensemble.py skin-mean`."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from medpipe import backend, tracking
from medpipe.evaluation.evaluate import Evaluation, effective
from medpipe.evaluation.mixture import align, average, choose_weights
from medpipe.evaluation.report import classification_report
from medpipe.evaluation.write import write
from medpipe.models import delivery
from medpipe.models.ensemble import combine
from medpipe.models.mean import mean
from medpipe.params import load
from medpipe.training.run import deliver


def main(name: str) -> None:
    params = load()
    settings = params.ensembles[name]
    votes = Path("votes") / name
    names = [vote.member for vote in params.votes.values() if vote.ensemble == name]
    for left in {path.name for path in votes.iterdir()} - set(names):
        shutil.rmtree(votes / left)  # of a vote taken out of params.yaml: DVC leaves it, and counts it to the folder
    backend.start(params.seed, "float32")
    delivered, models = zip(*(delivery.read(votes / member / "model") for member in names), strict=True)
    made = combine(name, delivered)
    tables = align({member: pd.read_parquet(votes / member / "predictions.parquet") for member in names})
    equal = [1 / len(names)] * len(names)
    weights = choose_weights(tables, made.classes) if settings.weights == "validation" else equal
    described = settings.model_dump(mode="json") | {"merge": made.settings["merge"], "backend": backend.name()}
    described["members"] = {m.name: {"weight": w} | m.settings for m, w in zip(delivered, weights, strict=True)}
    made = replace(made, settings=described)

    records = [json.loads((votes / member / "model" / tracking.RECORD).read_text()) for member in names]
    data = {
        tag.removeprefix("medpipe."): value
        for record in records
        for tag, value in record["tags"].items()
        if tag.startswith(("medpipe.split", "medpipe.data."))
    }
    with TemporaryDirectory() as folder, tracking.begin(settings.task, name, described, data, Path(folder)) as run:
        model = mean(models, [key for m in delivered for key in m.inputs], weights)
        deliver(run, made, model, pd.DataFrame())

    table = average(tables, made.classes, weights)
    training = json.loads((votes / names[0] / "report.json").read_text())["training"]
    measured = effective(made, params.evaluate)
    found = Evaluation(table, *classification_report(name, table, made.classes, training, measured, params.seed))
    found.report["weights"] = dict(zip(names, weights, strict=True))
    print(write(found, run, params.ingest.max_pixels))


if __name__ == "__main__":
    main(sys.argv[1])
