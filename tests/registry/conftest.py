from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, PLAIN
from keras import layers
from outputs import PIXELS, places, write

from medpipe import tracking
from medpipe.models import delivery, external, network, ood
from medpipe.models.export import export
from medpipe.registry.publish import publish
from medpipe.training import run as training

VARIANT = {"task": "skin", "kind": "images", "square": False, "sizes": (8,), "equalise": False}
VARIANT |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}
CLASSES = ("mel", "nv")


def predictions(right):
    """Of 100 validation and 100 test rows, a lesion each, about the share `right` is told right on test."""
    rng = np.random.default_rng(0)
    truth, told = np.arange(200) % 2, rng.random(200) < right
    said = np.where(told | (np.arange(200) < 100), truth, 1 - truth)
    table = pd.DataFrame({"id": [f"{i:03d}" for i in range(200)], "group": [f"g{i}" for i in range(200)]})
    table["set"] = np.where(np.arange(200) < 100, "val", "test")
    table["label"] = np.array(CLASSES)[truth]
    table[[f"p_{name}" for name in CLASSES]] = np.eye(2)[said]
    return table


@pytest.fixture
def train(root, deliver):
    """A function that leaves what the stages train and evaluate leave of a model, and returns its run."""

    def train(name, f1=0.5, evaluated=True, model=None, split="5f3a", right=0.8, only=None, test=None, members=()):
        """`right`: the share of the test rows that it gets right; `test`: what the report says of them beside;
        `members`: of which it is the mean.
        """
        checkpoint = root / ".tmp" / name
        with tracking.begin("skin", name, {"lr": 0.1}, {"split": split}, checkpoint) as run:
            run.log_epoch(0, {"loss": 0.7})
            run.log_epoch(1, {"loss": 0.6})
            if model is None:
                inputs = keras.Input((8, 8, 3))
                model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(inputs)))
            about = {"classes": CLASSES, "variants": (VARIANT,), "features": ((),)}
            folder = root / "models" / name
            if members:
                settings = {"kind": "mean", "members": {member: {"weight": 1 / len(members)} for member in members}}
                recipe = delivery.read_recipe(root / "models" / members[0])
                training.deliver(run, replace(recipe, name=name, settings=settings), None, pd.DataFrame())
                graphs = [root / f"predictions/skin/{member}.onnx" for member in members]
                (folder / delivery.GRAPH).write_bytes(external.refer(export(network.read(folder)[1]), graphs))
            else:
                deliver(folder, model, **about)
            pd.DataFrame({"epoch": [0, 1], "loss": [0.7, 0.6]}).to_csv(folder / "history.csv", index=False)
            run.write(folder)
        (checkpoint / tracking.RECORD).unlink()
        if evaluated:
            write(root / f"metrics/skin/{name}.json", {"macro_f1": f1, "roc_auc": None})
            trained = {"sides": [], "rows": [], "weights": []}
            about = {"model": name, "kind": "classification", "classes": CLASSES, "only": only, "trained": trained}
            report = {"run": run.key, "served": PLAIN, "sets": {"test": {"subgroups": {}} | (test or {})}}
            write(root / f"reports/skin/models/{name}.json", report | about)
            (root / "predictions/skin").mkdir(parents=True, exist_ok=True)
            predictions(right).to_parquet(root / f"predictions/skin/{name}.parquet")
            write(root / f"plots/skin/{name}/roc.png", "no image")
            (folder / delivery.GRAPH).rename(root / f"predictions/skin/{name}.onnx")
            ood.write(None, root / f"predictions/skin/{name}.npz")
            publish(tracking.reopen(folder), **places(root, name), max_pixels=PIXELS)
        return run

    return train


@pytest.fixture
def stored():
    """A function that tells what the current store shows of all runs of the task, in plain values."""

    def stored():
        client = tracking.connect()
        experiment = client.get_experiment_by_name("skin").experiment_id
        found = {}
        for run in client.search_runs([experiment]):
            points = {
                name: client.get_metric_history(run.info.run_id, name)
                for name in run.data.metrics
                if not name.startswith("system/")
            }
            models = client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'")
            found[run.info.run_name] = {
                "status": run.info.status,
                "params": run.data.params,
                "tags": run.data.tags,
                "curves": {name: [(point.step, point.value) for point in curve] for name, curve in points.items()},
                "artifacts": sorted(
                    file.path
                    for folder in ("plots", "predictions", "report")
                    for file in client.list_artifacts(run.info.run_id, folder)
                ),
                "models": [
                    (model.name, model.params, model.tags, [(m.key, m.value) for m in model.metrics or ()])
                    for model in models
                ],
            }
        return found

    return stored


@pytest.fixture
def versions():
    """A function that tells a registered model's versions: {version: (tags, aliases)}, without the alias `best`."""

    def versions(registered):
        client = tracking.connect()
        numbers = [found.version for found in client.search_model_versions(f"name = '{registered}'")]
        found = [client.get_model_version(registered, number) for number in sorted(numbers)]
        return {int(v.version): (v.tags, [alias for alias in v.aliases if alias != "best"]) for v in found}

    return versions
