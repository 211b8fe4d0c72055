import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest
from outputs import PIXELS, places, write

from medpipe import fingerprint, params, tracking
from medpipe.errors import InputError
from medpipe.params import Floor
from medpipe.registry import champions, evidence
from medpipe.registry.card import disjoint
from medpipe.registry.champions import find_reigning
from medpipe.registry.publish import publish
from medpipe.registry.register import elect, register
from medpipe.registry.restore import restore

REPOSITORY = Path(__file__).parents[2]
PARAMS = params.load(REPOSITORY)


def registered(root, name, champion=True):
    return register(name, "skin-classifier", root, {}, aliases={"champion": None} if champion else {})


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


def elected(root, name, move=True, **gate):
    return elect(
        name, "skin", root, gated(**gate), lambda _: {"card": "# A card", "claim": "# A list"}, None, move=move
    )


def gated(**gate):
    """The repository's parameters with another gate for skin; 0.2 of margin, for the test rows are few."""
    asked = PARAMS.registry["skin"].gate.model_copy(update={"margin": 0.2} | gate)
    return PARAMS.model_copy(update={"registry": {"skin": PARAMS.registry["skin"].model_copy(update={"gate": asked})}})


def aliases(versions):
    return {tags["model"]: aliases for tags, aliases in versions("skin-classifier").values()}


def test_a_worse_model_does_not_replace_the_champion_and_the_reason_is_said(train, root, versions):
    champion = train("skin-b4", 0.61, right=0.9)
    train("skin-v2m", 0.99, right=0.6)
    assert elected(root, "skin-b4")["decision"]["why"] == "there was no champion"
    said = elected(root, "skin-v2m")
    assert aliases(versions) == {"skin-b4": ["champion"], "skin-v2m": []}
    assert (said["name"], said["run"], said["metrics"]) == ("skin-b4", champion.key, {"macro_f1": 0.61})
    decision = said["decision"]
    assert (decision["candidate"], decision["reigning"], decision["moves"]) == ("skin-v2m", "skin-b4", False)
    assert decision["rows"] == decision["groups"] == 100
    assert decision["difference"] == pytest.approx(decision["new"] - decision["old"])
    assert decision["high"] < 0
    assert re.fullmatch(
        r"refused: no worse than the champion: macro_f1 -0\.\d+ \[-0\.\d+, -0\.\d+\] on 100 test rows, 0\.\d+ against "
        r"0\.\d+; it may be 0\.\d+ worse, of 0\.2 allowed \(registry\.skin\.gate\.margin\)",
        decision["why"],
    )
    refused = tracking.connect().get_model_version("skin-classifier", "2")
    assert refused.tags["gate"] == decision["why"]
    assert refused.description == "# A card"
    json.dumps(said, allow_nan=False)


def test_a_better_or_like_model_replaces_the_champion(train, root, versions):
    train("skin-b4", right=0.6)
    train("skin-v2m", right=0.9)
    train("skin-image", right=0.88)
    for name in ("skin-b4", "skin-v2m", "skin-image"):
        assert elected(root, name)["name"] == name
    assert aliases(versions)["skin-image"] == ["champion"]


def test_a_model_that_answers_as_the_champion_does_is_no_worse(train, root, versions):
    """As one that was trained again after an edit that changed no bit of it."""
    train("skin-b4", right=0.9)
    train("skin-v2m", right=0.9)
    assert elected(root, "skin-b4", margin=0)["decision"]["moves"]
    decision = elected(root, "skin-v2m", margin=0)["decision"]
    assert decision["moves"], decision["why"]
    assert (decision["difference"], decision["low"], decision["high"], decision["p"]) == (0, 0, 0, 1)


def test_the_margins_of_many_elections_do_not_add_up(train, root):
    """Each is 0.1 worse than the last one, of 0.2 allowed."""
    for name, right in (("skin-b4", 0.95), ("skin-v2m", 0.85), ("skin-image", 0.75), ("skin-early", 1.0)):
        train(name, right=right)
    client = tracking.connect()

    def best():
        return find_reigning(client, "skin-classifier", "best").tags["model"]

    assert elected(root, "skin-b4")["decision"]["anchor"] is None
    assert elected(root, "skin-v2m")["name"] == "skin-v2m"
    assert best() == "skin-b4"
    said = elected(root, "skin-image")
    decision = said["decision"]
    assert (said["name"], decision["moves"]) == ("skin-v2m", False)
    assert [(one["condition"], one["met"]) for one in decision["conditions"]] == [
        ("no worse than the champion", True),
        ("no worse than the best champion so far", False),
    ]
    assert decision["anchor"] == "skin-b4, version 1, the best champion so far"
    assert decision["best"]["difference"] < decision["difference"] < 0
    assert decision["elections"] == 3
    assert elected(root, "skin-early")["name"] == best() == "skin-early"
    client.delete_registered_model_alias("skin-classifier", "best")  # by which a person gives up what was reached
    assert elected(root, "skin-b4")["decision"]["anchor"] == "skin-early, version 4, the champion"
    assert best() == "skin-early"


def test_elections_on_other_test_rows_are_not_counted(train, root):
    train("skin-b4", split="77aa")
    train("skin-v2m")
    assert [elected(root, name, unrelated=None)["decision"]["elections"] for name in ("skin-b4", "skin-v2m")] == [1, 1]


def test_an_alias_that_a_person_moves_during_an_election_is_asked_again(train, root, monkeypatch):
    train("skin-b4", right=0.9)
    train("skin-image", right=0.6)
    train("skin-v2m", right=0.58)
    registered(root, "skin-b4", champion=False)
    registered(root, "skin-image")
    challenge = champions.challenge

    def moved(*arguments):
        tracking.connect().set_registered_model_alias("skin-classifier", "champion", "1")
        return challenge(*arguments)

    monkeypatch.setattr(champions, "challenge", moved)
    said = elected(root, "skin-v2m")
    assert (said["name"], said["decision"]["reigning"]) == ("skin-b4", "skin-b4")


def test_evidence_of_another_training_or_of_another_split_is_refused(train, root):
    key = train("skin-b4").key
    reports = root / "reports/skin"
    write(reports / "comparison.json", {"runs": {"skin-b4": key}, "probes": None})
    split = {"digest": "5f3a", "rows": {}, "by": "given", "grouping": "", "leak": {"val": 0, "test": 7}}
    write(reports / "split.json", split)
    (reports / "ingest.txt").write_text("9 images")
    # Of a task that left `probes`.
    write(root / "predictions/skin/probes.json", {"model": "skin-b4", "run": key, "alarm": True})
    found = evidence.read(root, "skin", "skin-b4", PARAMS)
    assert found.probes is None
    assert disjoint(found) == (
        "that of the archive's own sets; a leak: 7 test images share a lesion, a patient or a near duplicate with "
        "training"
    )
    said = "grouped by image: the same patient may be on both sides"
    alone = replace(found, split=found.split | {"by": "group", "grouping": said, "leak": {"val": None, "test": None}})
    assert disjoint(alone) == f"lesion or patient where one is known, and near duplicates; {said}"
    for name, other in (
        ("comparison.json", {"runs": {"skin-b4": "another"}}),
        ("split.json", {"digest": "77aa"}),
        ("models/skin-b4.json", {"run": "another"}),
    ):
        kept = (reports / name).read_text()
        write(reports / name, json.loads(kept) | other)
        with pytest.raises(
            InputError, match=f"{name}: it is of .+, models/skin-b4 of .+; run `dvc repro register@skin`"
        ):
            evidence.read(root, "skin", "skin-b4", PARAMS)
        (reports / name).write_text(kept)


def test_a_retrained_model_must_hold_its_own_against_its_former_self(train, root, versions):
    first = train("skin-b4", right=0.9)
    assert elected(root, "skin-b4")["run"] == first.key
    assert elected(root, "skin-b4")["decision"]["why"] == "it is the champion already"
    rmtree(root / "models/skin-b4")
    train("skin-b4", right=0.6)
    said = elected(root, "skin-b4")
    assert (said["name"], said["run"]) == ("skin-b4", first.key)
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [["champion"], []]
    write(root / "reports/skin/champion.json", said)
    assert list(restore(root, PIXELS))[-1] == "skin-classifier@champion: skin-b4, of an earlier training"
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [["champion"], []]


def test_an_experiment_decides_and_leaves_the_alias(train, root, versions):
    train("skin-b4", right=0.6)
    train("skin-v2m", right=0.9)
    elected(root, "skin-b4")
    assert elected(root, "skin-v2m", move=False)["name"] == "skin-v2m"
    assert aliases(versions)["skin-b4"] == ["champion"]


def test_a_champion_that_cannot_be_compared_stays_unless_its_key_is_null(train, root, versions):
    train("skin-image", right=1.0, only="mel")
    train("skin-b4", right=0.9)
    train("skin-v2m", right=0.6, split="77aa")
    registered(root, "skin-image")
    why = "skin-image cannot be compared: skin-image answers for mel alone"
    assert elected(root, "skin-b4")["decision"]["why"] == (
        f"refused: comparable with the champion: {why}; to accept that, set the key to null, or take the alias from "
        "the champion in MLflow (registry.skin.gate.unrelated)"
    )
    assert aliases(versions)["skin-image"] == ["champion"]
    assert elected(root, "skin-b4", unrelated=None)["decision"]["why"] == why
    assert elected(root, "skin-v2m", unrelated=None)["decision"]["why"] == (
        "skin-b4 was made on other data (split 5f3a, now 77aa) and cannot be compared: "
        "which rows trained it is not known"
    )
    assert aliases(versions)["skin-v2m"] == ["champion"]


def test_a_first_model_that_is_refused_is_a_version_and_no_champion(train, root, versions):
    subgroup = {"small": False, "overall": {"shared_recall": {"value": 0.4, "low": 0.2, "high": 0.6}}}
    train("skin-b4", test={"subgroups": {"sex": {"values": {"male": subgroup}}}})
    said = elected(root, "skin-b4", subgroup_floor=Floor(metric="shared_recall", floor=0.3))
    assert (said["name"], said["decision"]["reigning"]) == (None, None)
    assert said["decision"]["why"] == (
        "refused: no subgroup below the floor: shared_recall 0.400 [0.200, 0.600] of sex male, the lowest of 1; "
        "the floor is 0.3 (registry.skin.gate.subgroup_floor)"
    )
    assert aliases(versions) == {"skin-b4": []}
    assert elected(root, "skin-b4")["name"] == "skin-b4"
    assert [(tags["gate"], found) for tags, found in versions("skin-classifier").values()] == [("passed", ["champion"])]


def test_a_model_for_one_class_alone_is_not_elected(train, root, versions):
    train("skin-b4", right=0.6)
    train("skin-image", right=1.0, only="mel")
    elected(root, "skin-b4")
    with pytest.raises(InputError, match="skin-image answers for mel alone and cannot be the champion"):
        elected(root, "skin-image")
    assert aliases(versions) == {"skin-b4": ["champion"]}


@pytest.mark.parametrize("damage", ["gone", "damaged", "no run"])
def test_a_champion_that_cannot_be_read_is_not_replaced(train, root, versions, damage):
    champion = train("skin-b4", right=0.9)
    train("skin-v2m", right=0.6)
    elected(root, "skin-b4")
    predictions = root / "mlartifacts/skin" / champion.run_id / "artifacts/predictions"
    if damage == "gone":
        rmtree(predictions)
    elif damage == "damaged":
        (predictions / "skin-b4.parquet").write_bytes(b"no table")
    else:
        with closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
            connection.execute("UPDATE runs SET run_uuid = 'other' WHERE run_uuid = ?", (champion.run_id,))
    with pytest.raises(
        InputError, match="skin-classifier, version 1, the champion: .*`make ui`.*its run cannot be read"
    ):
        elected(root, "skin-v2m")
    assert aliases(versions) == {"skin-b4": ["champion"]}
    if damage != "no run":
        list(restore(root, PIXELS))
        assert elected(root, "skin-v2m")["name"] == "skin-b4"


def by_hand(root, alias):
    """Version of the registered model that a person made of something else, and without a run."""
    client = tracking.connect()
    if not client.search_registered_models("name = 'skin-classifier'"):
        client.create_registered_model("skin-classifier")
    (root / "elsewhere").mkdir()
    version = client.create_model_version("skin-classifier", (root / "elsewhere").as_uri()).version
    if alias:
        client.set_registered_model_alias("skin-classifier", "champion", version)


@pytest.mark.parametrize("first", [True, False])
def test_a_version_by_hand_gives_up_the_alias_if_that_is_accepted(train, root, versions, first):
    train("skin-b4")
    if not first:
        elected(root, "skin-b4")
    by_hand(root, alias=True)
    number = 1 if first else 2
    kept = elected(root, "skin-b4")
    assert (kept["name"], kept["decision"]["moves"]) == (None, False)
    assert versions("skin-classifier")[number][1] == ["champion"]
    said = elected(root, "skin-b4", unrelated=None)
    assert said["decision"]["why"] == (
        f"skin-classifier, version {number}, the champion, was registered by hand, "
        "of no run of this pipeline's, and cannot be compared"
    )
    assert {n: aliases for n, (_, aliases) in versions("skin-classifier").items()} == {
        number: [],
        3 - number: ["champion"],
    }
    write(root / "reports/skin/champion.json", said)
    client = tracking.connect()
    client.set_registered_model_alias("skin-classifier", "champion", str(number))
    assert list(restore(root, PIXELS))[-1] == (
        f"skin-classifier@champion stays with version {number} (made by hand); "
        "`dvc repro --single-item --force register@skin` lets skin-b4 stand for election"
    )
    client.delete_registered_model_alias("skin-classifier", "champion")
    assert list(restore(root, PIXELS))[-1] == "skin-classifier@champion: skin-b4"
    assert "champion" in versions("skin-classifier")[3 - number][1]


def test_one_of_our_models_that_was_registered_by_hand_is_compared(train, root, versions):
    champion = train("skin-b4", right=0.9)
    train("skin-v2m", right=0.6)
    registered(root, "skin-b4", champion=False)
    client = tracking.connect()
    source = client.get_model_version("skin-classifier", "1").source
    client.create_model_version("skin-classifier", source, champion.run_id)
    client.set_registered_model_alias("skin-classifier", "champion", "2")
    said = elected(root, "skin-v2m")
    assert (said["name"], said["run"], said["decision"]["moves"]) == ("skin-b4", champion.key, False)
    assert versions("skin-classifier")[2] == ({}, ["champion"])


def test_other_models_of_the_registry_are_left_alone(train, root, versions):
    train("skin-b4")
    elected(root, "skin-b4")
    by_hand(root, alias=False)
    client = tracking.connect()
    client.copy_model_version("models:/skin-classifier/1", "copy")
    experiment = client.create_experiment("other", (root / "other").as_uri())
    forest = client.create_logged_model(experiment, "forest", client.create_run(experiment).info.run_id)
    client.finalize_logged_model(forest.model_id, "READY")
    client.create_model_version("skin-classifier", f"models:/{forest.model_id}", model_id=forest.model_id)
    assert list(restore(root, PIXELS)) == ["skin-b4: run, evaluation, model"]
    assert elected(root, "skin-b4")["decision"]["why"] == "it is the champion already"
    assert [aliases for _, aliases in versions("skin-classifier").values()] == [["champion"], [], []]


def test_where_every_model_answers_for_one_class_the_stage_leaves_the_alias(train, root, versions):
    train("skin-b4")
    elected(root, "skin-b4")
    write(root / "reports/skin/comparison.json", {"best": None})
    params.write(root, params.read(REPOSITORY))
    stage = [sys.executable, str(REPOSITORY / "stages/register.py"), "skin"]
    said = subprocess.run(stage, check=True, cwd=root, stdout=subprocess.PIPE, text=True).stdout
    assert said == "skin-classifier@champion stays where it is: every model answers for one class alone\n"
    found = json.loads((root / "reports/skin/champion.json").read_text())
    assert (found["name"], found["decision"]["why"]) == (None, "every model answers for one class alone")
    assert aliases(versions) == {"skin-b4": ["champion"]}
    assert list(restore(root, PIXELS)) == ["skin-b4: run, evaluation, model"]


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
