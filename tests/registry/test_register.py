import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from outputs import PIXELS, places, write

from medpipe import fingerprint, tracking
from medpipe.errors import InputError
from medpipe.registry.publish import publish
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
    assert tags == {"model": "skin-b4", "medpipe.run": run.key}
    version = run.client.get_model_version("skin-classifier", "1")
    assert version.description.startswith("`skin-b4` on the test rows: macro_f1 0.61.")
    [metric] = run.client.get_logged_model(version.source.removeprefix("models:/")).metrics
    assert (metric.key, metric.value) == ("test/macro_f1", 0.61)


def test_the_alias_moves_to_a_better_model_and_back(train, root, versions):
    train("skin-b4")
    train("skin-v2m")
    registered(root, "skin-b4")
    registered(root, "skin-v2m")
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [[], ["champion"]]
    registered(root, "skin-b4")
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [["champion"], []]


def test_other_code_to_serve_it_is_a_new_version_and_the_champion(train, root, versions, monkeypatch, tmp_path):
    train("skin-b4")
    registered(root, "skin-b4")
    source, changed = fingerprint.SOURCE, tmp_path / "changed"
    shutil.copytree(source, changed, ignore=shutil.ignore_patterns("__pycache__"))
    with (changed / "medpipe/data/images.py").open("a") as file:
        file.write("FORMATS = ('PNG',)")
    for number, folder in [(2, changed), (2, changed), (3, source)]:  # the last: the change is taken back
        monkeypatch.setattr(fingerprint, "SOURCE", folder)
        publish(tracking.reopen(root / "models/skin-b4"), **places(root, "skin-b4"), max_pixels=PIXELS)
        registered(root, "skin-b4")
        aliases = [aliases for _, aliases in versions("skin-classifier").values()]
        assert aliases == [[]] * (number - 1) + [["champion"]]
        found = tracking.connect().get_model_version_by_alias("skin-classifier", "champion")
        place = tracking.connect().get_logged_model(found.source.removeprefix("models:/")).artifact_location
        [brought] = Path(place.removeprefix("file://"), "code").iterdir()
        assert ("('PNG',)" in (brought / "data/images.py").read_text()) == (folder == changed)


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


@pytest.mark.parametrize("experiment", [False, True])
def test_the_stage_registers_the_best_and_in_an_experiment_leaves_the_alias(
    train, root, versions, monkeypatch, experiment
):
    train("skin-b4")
    write(root / "reports/skin/comparison.json", {"best": "skin-b4"})
    (root / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    if experiment:
        monkeypatch.setenv("DVC_EXP_NAME", "slow")
    subprocess.run([sys.executable, str(REPOSITORY / "stages/register.py"), "skin"], check=True, cwd=root)
    assert json.loads((root / "reports/skin/champion.json").read_text())["name"] == "skin-b4"
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [[] if experiment else ["champion"]]
