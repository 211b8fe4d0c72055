import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from outputs import PIXELS, places, write

from medpipe import tracking
from medpipe.registry.publish import publish

VARIANT = {"task": "skin", "kind": "images", "square": False, "sizes": (8,), "equalise": False}
CLASSES = ("mel", "nv")


def predictions(right):
    """A share `right` of the 60 validation rows, and of the test rows the rest, get their label."""
    label = ["mel", "nv"] * 30
    tables = []
    for name, share in (("val", right), ("test", 1 - right)):
        hit = np.arange(60) < round(60 * share)
        first = np.where(hit == (np.array(label) == "mel"), 0.9, 0.1)
        ids = [f"{name}-{i}" for i in range(60)]
        tables.append(pd.DataFrame({"id": ids, "set": name, "group": ids, "label": label, "p_mel": first}))
    return pd.concat(tables, ignore_index=True).assign(p_nv=lambda table: 1 - table["p_mel"])


@pytest.fixture
def train(root, deliver):
    """A function that leaves what the stages train and evaluate leave of a model, and returns its run."""

    def train(name, f1=0.5, evaluated=True, model=None, right=1.0, split="5f3a"):
        checkpoint = root / ".tmp" / name
        with tracking.begin("skin", name, {"lr": 0.1}, {"split": split}, checkpoint) as run:
            run.log_epoch(0, {"loss": 0.7})
            run.log_epoch(1, {"loss": 0.6})
            if model is None:
                inputs = keras.Input((8, 8, 3))
                model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(inputs)))
            about = {"classes": CLASSES, "variants": (VARIANT,), "features": ((),)}
            folder = deliver(root / "models" / name, model, **about)
            pd.DataFrame({"epoch": [0, 1], "loss": [0.7, 0.6]}).to_csv(folder / "history.csv", index=False)
            run.write(folder)
        (checkpoint / tracking.RECORD).unlink()
        if evaluated:
            write(root / f"metrics/skin/{name}.json", {"macro_f1": f1, "roc_auc": None})
            report = {"kind": "classification", "classes": CLASSES, "only": None, "flips": [], "sets": {}}
            write(root / f"reports/skin/models/{name}.json", {"run": run.key} | report)
            table = root / f"predictions/skin/{name}.parquet"
            table.parent.mkdir(parents=True, exist_ok=True)
            predictions(right).to_parquet(table, index=False)
            write(root / f"plots/skin/{name}/roc.png", "no image")
            (root / "predictions/skin").mkdir(parents=True, exist_ok=True)
            pd.DataFrame({"set": ["test"], "truth": ["nv"]}).to_parquet(root / f"predictions/skin/{name}.parquet")
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
                    for folder in ("plots", "report")
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
    """A function that tells a registered model's versions: {version: (tags, aliases)}."""

    def versions(registered):
        client = tracking.connect()
        numbers = [found.version for found in client.search_model_versions(f"name = '{registered}'")]
        found = [client.get_model_version(registered, number) for number in sorted(numbers)]
        return {int(version.version): (version.tags, version.aliases) for version in found}

    return versions
