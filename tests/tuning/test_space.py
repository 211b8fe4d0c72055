"""What of tuning.yaml is refused, before anything is trained and by full key; what Optuna makes of the rest."""

from pathlib import Path

import pytest
import yaml

from medpipe.errors import InputError
from medpipe.overrides import change
from medpipe.params import Tuning, read, read_file, validated
from medpipe.tuning.space import decode, distributions, load

SHIPPED, VALUES = read_file(Path("tuning.yaml")), read()
SPACE = {
    "lr": {"low": 1e-4, "high": 0.1, "log": True},
    "network.filters": {"choices": [[16], [16, 32]]},
    "batch": {"low": 8, "high": 15, "step": 4},
    "class_weights": {"choices": [None, "balanced"]},
}


@pytest.fixture
def tune(tmp_path):
    """A function that loads the section of a model with other settings."""

    def tune(name="chest-convnet", values=VALUES, **settings):
        path = tmp_path / "tuning.yaml"
        path.write_text(yaml.safe_dump(SHIPPED | {name: SHIPPED.get(name, {}) | settings}))
        return load(path, name, values)

    return tune


@pytest.mark.parametrize("name", SHIPPED)
def test_each_space_that_is_shipped_is_one_at_full_scale(name):
    load(Path("tuning.yaml"), name, VALUES | {"scale": "full"})


@pytest.mark.parametrize(
    ("key", "dimension", "message"),
    [
        ("network.fliters", {"choices": [[8], [16]]}, "network.fliters: no such key; 'fliters' is none of filters"),
        ("network.dropout", {"low": 0.0, "high": 1.5, "log": False}, "with 1.5: models.chest-convnet.network.dropout"),
        ("network.units", {"choices": [64, -1]}, "with -1: models.chest-convnet.network.units"),
        ("lr", {"low": 0.1, "high": 0.01, "log": True}, "low must be below high, is 0.1 against 0.01"),
        ("lr", {"low": 0.0, "high": 0.1, "log": True}, "low must be above 0 where log is true, is 0.0"),
        ("lr", {"low": 0.1, "high": 0.2}, r"log: missing; every key must have a value"),
        ("lr", {"choices": [0.1]}, "choices: Tuple should have at least 2 items"),
        ("batch", {"choices": [16, 32]}, "32 comes to the same as another value at scale laptop"),
        ("loss.label_smoothing", {"low": 0.0, "high": 0.2, "log": False}, "values of different losses"),
        ("merge", {"choices": [{}, {"other": ["COVID"]}]}, "merge must be the same in all trials"),
    ],
)
def test_a_bad_dimension_is_refused_by_its_key(tune, key, dimension, message):
    with pytest.raises(InputError, match=rf"tuning\.yaml: chest-convnet\.space\.{key}[.:].*{message}"):
        tune(space={key: dimension})


def test_bad_models_and_metrics_are_refused(tune):
    with pytest.raises(InputError, match=r"tuning\.yaml: no 'skin-b5'; there are chest-convnet"):
        load(Path("tuning.yaml"), "skin-b5", VALUES)
    with pytest.raises(InputError, match=r"params\.yaml: models: no 'skin-b5'; there are"):
        tune("skin-b5")
    with pytest.raises(InputError, match=r"chest-convnet\.metric: chest-convnet has no val_dice; .* val_accuracy"):
        tune(metric="val_dice")
    with pytest.raises(InputError, match=r"brain-resunet\.metric: brain-resunet has no val_accuracy"):
        tune("brain-resunet", metric="val_accuracy")
    with pytest.raises(InputError, match=r"chest-convnet\.pruner\.warmup: missing"):
        tune(pruner={"startup": 1})
    with pytest.raises(InputError, match=r"models\.chest-convnet\.folds: .* set it to null"):
        tune(values=change(VALUES, "chest-convnet", {"folds": 3}))
    with pytest.raises(InputError, match=r"chest-convnet\.space\.lr: .* comes to the same .* under `train`"):
        tune(values=VALUES | {"train": VALUES["train"] | {"lr": 0.1}})


def test_losses_may_be_searched_by_another_metric(tune):
    smoothing = {"low": 0.0, "high": 0.2, "log": False}
    assert tune(metric="val_accuracy", space={"loss.label_smoothing": smoothing})


def test_what_optuna_draws_becomes_changes_of_the_recipe():
    space = validated(Tuning, SHIPPED["chest-convnet"] | {"space": SPACE}, "tuning.yaml").space
    known = distributions(space)
    assert (known["batch"].low, known["batch"].high) == (8, 12)
    assert known["network.filters"].choices == ("[16]", "[16, 32]")
    drawn = {"lr": 0.01, "network.filters": "[16, 32]", "batch": 12, "class_weights": "null"}
    assert decode(space, drawn) == {"lr": 0.01, "network.filters": [16, 32], "batch": 12, "class_weights": None}
