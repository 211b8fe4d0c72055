import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from outputs import write

from medpipe.errors import InputError
from medpipe.registry.register import register

REPOSITORY = Path(__file__).parents[2]


def registered(root, name, champion=True):
    return register(
        name, "skin-classifier", root / "models" / name, root / f"metrics/skin/{name}.json", champion=champion
    )


def test_the_best_model_becomes_champion_once(train, root, versions):
    run = train("skin-b4", 0.61)
    said = registered(root, "skin-b4")
    assert said == {
        "registered": "skin-classifier",
        "alias": "champion",
        "name": "skin-b4",
        "run": run.key,
        "metrics": {"macro_f1": 0.61},
    }
    assert registered(root, "skin-b4") == said
    [(version, (tags, aliases))] = versions("skin-classifier").items()
    assert (version, aliases) == (1, ["champion"])
    assert tags == {"model": "skin-b4", "medpipe.run": run.key, "test/macro_f1": "0.61"}


def test_the_alias_moves_to_a_better_model_and_back(train, root, versions):
    train("skin-b4")
    train("skin-v2m")
    registered(root, "skin-b4")
    registered(root, "skin-v2m")
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [[], ["champion"]]
    registered(root, "skin-b4")
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [["champion"], []]


def test_the_model_of_an_experiment_leaves_the_alias(train, root, versions):
    train("skin-b4")
    train("skin-v2m")
    registered(root, "skin-b4")
    registered(root, "skin-v2m", champion=False)
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [["champion"], []]


def test_a_model_without_evaluation_is_an_error_that_says_what_to_do(train, root):
    train("skin-b4", evaluated=False)
    write(root / "metrics/skin/skin-b4.json", {"macro_f1": 0.5})
    with pytest.raises(InputError, match="skin-b4: no model is logged with its run; run its evaluation"):
        registered(root, "skin-b4")


@pytest.mark.parametrize("copy", [False, True])
def test_the_stage_registers_the_best_and_in_a_copy_leaves_the_alias(train, root, versions, copy):
    train("skin-b4")
    write(root / "reports/skin/comparison.json", {"best": "skin-b4"})
    (root / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    folder = root
    if copy:
        folder = root / ".dvc/tmp/exps/one"
        folder.mkdir(parents=True)
        for name in ("models", "metrics", "reports", "params.yaml"):
            (root / name).rename(folder / name)
    stage = [sys.executable, str(REPOSITORY / "stages/register.py"), "skin"]
    subprocess.run(stage, check=True, cwd=folder, env=dict(os.environ))
    assert json.loads((folder / "reports/skin/champion.json").read_text())["name"] == "skin-b4"
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [[] if copy else ["champion"]]
