"""DVC makes of the arguments what `replace` does."""

import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from medpipe import params
from medpipe.errors import InputError
from medpipe.overrides import arguments, replace

SHIPPED = Path("params.yaml")


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 2e-5, "epochs": 3},
        {"mixing": None},
        {"network.weights": None, "network.unfreeze": "all"},
        {"network.weights": "runs:/it's a, {b}: [c]=d/model.h5"},
        {"network.weights": "true"},
        {"network.freeze_norm": False},
        {"network.options": {"alpha": 0.75}},
        {"network.head": [64, 32]},
        {"loss": {"name": "focal", "gamma": 2.0, "alpha": 1.0}},
        {"merge": {"other": ["a b", "c"]}},
        {"augmentation": None, "warmup": None},
        {"merge": {}},
        {"sampling": {"kind": "balanced", "schedule": [[1, 35000], [9, None]]}},
        {"class_weights": {"mel": 2.0, "nv": 1.0}},
        {"lr": {"low": 1.0}},
        {"class_weights": [{"epoch": 1, "draws": 35000}, {"epoch": 9, "draws": None}]},
    ],
)
def test_dvc_sets_what_replace_does(tmp_path, changes):
    path = tmp_path / "params.yaml"
    shutil.copy(SHIPPED, path)
    before = params.read(SHIPPED)["models"]["skin-b4"]
    apply_overrides(str(path), arguments(before, changes, "models.skin-b4"))
    assert params.read(path)["models"]["skin-b4"] == replace(before, changes)
    assert before == params.read(SHIPPED)["models"]["skin-b4"]


def test_what_cannot_be_set_is_named():
    for change in (replace, lambda *both: arguments(*both, "models.x")):
        with pytest.raises(InputError, match="network.wieghts: no such key; 'wieghts' is none of weights"):
            change({"network": {"weights": None}}, {"network.wieghts": None})
        with pytest.raises(InputError, match="lr.x: no such key"):
            change({"lr": 1.0}, {"lr.x": None})
    with pytest.raises(InputError, match="'Viral Pneumonia': DVC cannot set"):
        arguments({"class_weights": None}, {"class_weights": {"Viral Pneumonia": 1.0}}, "models.x")
