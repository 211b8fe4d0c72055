import subprocess
import sys
from shutil import rmtree

import mlflow
import pytest
from outputs import PIXELS, write

from medpipe import tracking
from medpipe.registry.register import register
from medpipe.registry.restore import restore


def champion(root, name):
    said = register(name, "skin-classifier", root, {}, aliases={"champion": None})
    write(root / "reports/skin/champion.json", said | {"decision": {"candidate_run": said["run"]}})


def test_an_empty_store_shows_everything_again(train, stored, versions, root, new_root):
    train("skin-b4", 0.61)
    train("skin-v2m", 0.64)
    train("skin-image", evaluated=False)
    champion(root, "skin-v2m")
    before = stored()
    new_root("clone")
    lines = list(restore(root, PIXELS))
    assert lines == [
        "skin-b4: run, evaluation, model",
        "skin-v2m: run, evaluation, model",
        "skin-image: run; not evaluated yet",
        "skin-classifier@champion: skin-v2m",
    ]
    assert stored() == before
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [["champion"]]
    client = tracking.connect()
    mlflow.set_tracking_uri(client.tracking_uri)
    assert mlflow.models.get_model_info("models:/skin-classifier@champion").signature is not None

    assert list(restore(root, PIXELS)) == lines
    assert stored() == before
    assert len(versions("skin-classifier")) == 1


def test_restoring_where_nothing_is_missing_changes_nothing(train, stored, root):
    train("skin-b4")
    before = stored()
    list(restore(root, PIXELS))
    assert stored() == before


def test_an_alias_that_another_repository_moved_stays_where_it_is_and_is_given_where_it_is_missing(
    train, versions, root
):
    train("skin-b4")
    train("skin-v2m")
    champion(root, "skin-b4")
    register("skin-v2m", "skin-classifier", root, {}, aliases={"champion": None})
    assert list(restore(root, PIXELS))[-1] == (
        "skin-classifier@champion stays with version 2 (skin-v2m); "
        "`dvc repro --single-item --force register@skin` lets skin-b4 stand for election"
    )
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [[], ["champion"]]
    tracking.connect().delete_registered_model_alias("skin-classifier", "champion")
    assert list(restore(root, PIXELS))[-1] == "skin-classifier@champion: skin-b4"
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [["champion"], []]


def test_an_evaluation_of_an_earlier_training_is_not_shown_as_the_new_ones(train, stored, root):
    train("skin-b4", 0.61)
    champion(root, "skin-b4")
    rmtree(root / "models/skin-b4")
    train("skin-b4", evaluated=False)
    assert list(restore(root, PIXELS)) == [
        "skin-b4: run; its evaluation is of an earlier training",
        "skin-classifier@champion: skin-b4, of an earlier training",
    ]


def test_a_champion_whose_plots_were_not_pulled_keeps_nothing_from_being_shown(train, root, new_root):
    train("skin-b4", 0.61)
    champion(root, "skin-b4")
    rmtree(root / "plots/skin/skin-b4")
    new_root("clone")
    assert list(restore(root, PIXELS)) == [
        "skin-b4: run; not evaluated yet",
        "skin-classifier: the model that reports/skin/champion.json names is not here, or not evaluated; `dvc pull` it",
    ]


def moved(root, monkeypatch):
    """The repository under another name."""
    to = root.rename(root.with_name("renamed here"))
    monkeypatch.setenv("DVC_ROOT", str(to))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it in a process that registers
    monkeypatch.chdir(to)
    return to


def load(root):
    """The champion loaded as another service does."""
    script = f"""
import mlflow
mlflow.set_tracking_uri("sqlite:///{root}/mlflow.db")
print(mlflow.pyfunc.load_model("models:/skin-classifier@champion").metadata.run_id)
"""
    found = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    return found.stdout.strip()


def test_in_a_repository_that_was_moved_all_is_found_and_what_is_new_lies_there(train, root, monkeypatch):
    trained = train("skin-b4", 0.61)
    champion(root, "skin-b4")
    old, root = root, moved(root, monkeypatch)
    client = tracking.connect()
    assert load(root) == trained.run_id
    with tracking.begin("skin", "skin-v2m", {}, {}, root / "checkpoint") as run:
        run.log_artifacts(root / "checkpoint")
    for found in client.search_runs([client.get_experiment_by_name("skin").experiment_id]):
        assert found.info.artifact_uri.startswith((root / "mlartifacts/skin").as_uri())
        assert client.list_artifacts(found.info.run_id)
    assert not old.exists()


def test_files_that_are_gone_are_put_there_again_or_are_said_to_be_gone(train, root):
    train("skin-b4", 0.61)
    champion(root, "skin-b4")
    best = train("skin-v2m", 0.64)
    champion(root, "skin-v2m")
    rmtree(root / "mlartifacts")
    rmtree(root / "models/skin-b4")
    lines = list(restore(root, PIXELS))
    assert load(root) == best.run_id
    [gone] = [line for line in lines if "cannot be loaded" in line]
    assert gone.startswith("skin-classifier, version 1: cannot be loaded, its files are gone from file://")


@pytest.mark.parametrize("folder", ["models", "."])
def test_a_repository_without_models_restores_nothing(root, folder):
    (root / folder).mkdir(exist_ok=True)
    assert list(restore(root, PIXELS)) == []
