from shutil import rmtree

import mlflow
import pytest
from outputs import PIXELS, write

from medpipe import tracking
from medpipe.registry.register import register
from medpipe.registry.restore import restore


def champion(root, name):
    said = register(name, "skin-classifier", root / "models" / name, root / f"metrics/skin/{name}.json", champion=True)
    write(root / "reports/skin/champion.json", said)


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


def test_the_alias_goes_back_to_the_champion_that_the_repository_names(train, versions, root):
    train("skin-b4")
    train("skin-v2m")
    champion(root, "skin-v2m")
    champion(root, "skin-b4")
    register(
        "skin-v2m", "skin-classifier", root / "models/skin-v2m", root / "metrics/skin/skin-v2m.json", champion=True
    )
    list(restore(root, PIXELS))
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [[], ["champion"]]


def test_an_evaluation_of_an_earlier_training_is_not_shown_as_the_new_ones(train, stored, root):
    train("skin-b4", 0.61)
    champion(root, "skin-b4")
    rmtree(root / "models/skin-b4")
    train("skin-b4", evaluated=False)
    assert list(restore(root, PIXELS)) == [
        "skin-b4: run; its evaluation is of an earlier training",
        "skin-classifier: the model that reports/skin/champion.json names is not here, or not evaluated; `dvc pull` it",
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


@pytest.mark.parametrize("folder", ["models", "."])
def test_a_repository_without_models_restores_nothing(root, folder):
    (root / folder).mkdir(exist_ok=True)
    assert list(restore(root, PIXELS)) == []
