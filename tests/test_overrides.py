"""DVC makes of the arguments what `change` does."""

import pytest
from dvc.utils.hydra import apply_overrides

from medpipe import params
from medpipe.errors import InputError
from medpipe.overrides import arguments, change, full, replace


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
def test_dvc_sets_what_change_does(tmp_path, changes):
    before = params.read()
    params.write(tmp_path, before)
    apply_overrides(str(tmp_path / "params.yaml"), arguments(before, "skin-b4", changes))
    assert params.read(tmp_path) == change(before, "skin-b4", changes)
    assert full(params.read(tmp_path), "skin-b4") == replace(full(before, "skin-b4"), changes)
    assert before == params.read()


def test_what_cannot_be_set_is_named():
    values = {
        "bases": {"b": {"lr": 1.0, "options": {"alpha": 1.0}}},
        "models": {"x": {"base": "b", "network": {"w": None}}},
    }
    for make in (change, arguments):
        with pytest.raises(InputError, match="network.v: no such key; 'v' is none of w"):
            make(values, "x", {"network.v": None})
        with pytest.raises(InputError, match="lr.x: no such key"):
            make(values, "x", {"lr.x": None})
    with pytest.raises(InputError, match="options: bases.b.options has keys that this lacks"):
        change(values, "x", {"options": {"beta": 2.0}})
    with pytest.raises(InputError, match="'Viral Pneumonia': DVC cannot set"):
        arguments(values, "x", {"network.w": {"Viral Pneumonia": 1.0}})
