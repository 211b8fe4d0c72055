import gc
import os
import shutil
from pathlib import Path

import pytest

gc.disable()  # until the tests are collected: imports make many objects and no garbage

# Child processes run the code beside these tests, not an installed copy; `pythonpath` in pyproject.toml does it here.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "src")
# As in the stages, which set it themselves: what is computed before a test calls one has the same bits, too.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# The suite computes on the CPU: a test's process that held a GPU would keep it from the stages that the test starts.
os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, the two longest one in each process."""
    first = ["test_pipeline.py", "test_experiments.py", "test_every_recipe.py", "test_backends.py", "test_resume.py"]
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


def pytest_collection_finish() -> None:
    """What was imported stays, and need not be looked at again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A root with an MLflow store without runs: making one takes seconds."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        from medpipe import tracking

        tracking.connect()
    return root


@pytest.fixture
def new_root(tmp_path, monkeypatch, empty_store):
    """A function that makes another root with an empty store and points tracking there, as DVC does."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def make(name):
        root = tmp_path / name
        root.mkdir()
        shutil.copy(empty_store / "mlflow.db", root)
        monkeypatch.setenv("DVC_ROOT", str(root))
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return root

    return make


@pytest.fixture
def root(new_root, monkeypatch):
    """The root of an empty store, and the current directory."""
    root = new_root("repository")
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="session")
def deliver():
    """A function that delivers a Keras model, as train, fuse and evaluate do, to a new folder named after it."""

    def deliver(folder, model, *, task="skin", kind="classifier", classes, variants, features, threshold=None):
        from medpipe.models.delivery import GRAPH, Delivery
        from medpipe.models.export import export

        folder.mkdir(parents=True)
        Delivery(
            name=folder.name,
            task=task,
            kind=kind,
            classes=classes,
            inputs=tuple(f"{variant['task']}-{variant['kind']}" for variant in variants),
            variants=variants,
            features=features,
            stats={},
            threshold=threshold,
            settings={},
        ).write(folder, model)
        (folder / GRAPH).write_bytes(export(model))
        return folder

    return deliver
