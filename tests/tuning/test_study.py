"""The study's side: draws, pruning, failures, going on, and the runs in MLflow."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState
from pydantic import ValidationError
from small_study import EPOCHS, NAME, VALUES, Formula, run, tuning

from medpipe.errors import InputError
from medpipe.overrides import change
from medpipe.tuning import report
from medpipe.tuning.study import opened


def outcomes(search):
    return [(trial.state, trial.params, trial.value, trial.last_step) for trial in search.counted]


def runs(search):
    """The parent's run and those below it, by name."""
    client = search.run.client
    experiment = client.get_experiment_by_name("skin").experiment_id
    query = f"tags.`mlflow.parentRunId` = '{search.run.run_id}'"
    children = client.search_runs([experiment], query)
    return client.get_run(search.run.run_id), {child.info.run_name: child for child in children}


def test_a_study_finds_a_better_trial_than_chance_stops_bad_ones_early_and_goes_on_to_more(root):
    search = run()
    complete, pruned = (
        [trial for trial in search.counted if trial.state == state]
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
    )
    assert len(complete) + len(pruned) == 8
    assert pruned
    assert {trial.last_step for trial in complete} == {EPOCHS}
    # The first epoch is the pruner's warmup.
    assert {trial.last_step for trial in pruned} <= set(range(2, EPOCHS))
    assert search.best().value == min(trial.value for trial in complete)

    before = outcomes(search)
    more = run(tuning(trials=10))
    assert outcomes(more)[:8] == before
    assert len(more.counted) == 10
    parent, children = runs(more)
    assert parent.info.run_id == search.run.run_id
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best/val_loss"] == more.best().value
    assert set(children) == {f"trial {number}" for number in range(10)}
    for trial in more.counted:
        child = children[f"trial {trial.number}"]
        assert child.info.status == "FINISHED"
        assert child.data.tags["medpipe.trial"] == trial.state.name.lower()
        assert float(child.data.params["lr"]) == trial.params["lr"]
        history = more.run.client.get_metric_history(child.info.run_id, "epoch/val_loss")
        assert {point.step: point.value for point in history} == trial.intermediate_values


def test_a_study_killed_twice_ends_as_one_that_was_not(root, new_root):
    script = Path(__file__).with_name("small_study.py")
    for number in (2, 6):  # in the first trial; in the second of the next process, which begins with the first anew
        killed = subprocess.run([sys.executable, script, str(number)], cwd=root)
        assert killed.returncode == -signal.SIGKILL
    search = run(tuning(trials=5))
    _, children = runs(search)
    ends = [(child.info.status, child.data.tags["medpipe.trial"]) for child in children.values()]
    assert ends.count(("KILLED", "killed")) == 2
    assert len(ends) == 2 + len(search.counted)
    assert [path.name for path in search.folder.iterdir() if path.is_dir()] == []
    found = outcomes(search)
    new_root("another")
    assert outcomes(run(tuning(trials=5))) == found


def test_ctrl_c_ends_the_runs_and_the_trial_is_drawn_again(root):
    def interrupt(number):
        if number == EPOCHS + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(trainer=Formula(at_epoch=interrupt))
    search = run(tuning(trials=3))
    drawn = [trial.params for trial in search.study.get_trials()]
    assert drawn[1] == drawn[2]
    assert len(search.counted) == 3
    _, children = runs(search)
    assert children["trial 1"].info.status == "KILLED"


def test_a_failed_trial_is_recorded_and_the_study_goes_on(root, tmp_path):
    search = run(trainer=Formula(bad=lambda lr: lr > 0.03))
    failed = [trial for trial in search.counted if trial.state == TrialState.FAIL]
    assert 0 < len(failed) < len(search.counted) == 8
    _, children = runs(search)
    for trial in failed:
        child = children[f"trial {trial.number}"]
        assert child.info.status == "FAILED"
        assert child.data.tags["medpipe.error"] == "TrialError: ResourceExhaustedError: no memory"
    report.write(tmp_path, search)
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert [row["error"] for row in rows].count("ResourceExhaustedError: no memory") == len(failed)
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["val_loss"] == search.best().value
    assert {"history.png", "importance.png"} < {path.name for path in tmp_path.iterdir()}


def test_where_every_trial_fails_the_reason_is_said(root):
    search = run(tuning(trials=2), Formula(bad=lambda lr: True))
    with pytest.raises(InputError, match="no trial has come to its end; ResourceExhaustedError: no memory"):
        search.best()


def test_other_settings_are_another_study_and_the_winners_are_not(root):
    settings, trainer = tuning(trials=1), Formula()
    first = run(settings)

    def studied(changes, **others):
        values = change(VALUES, NAME, changes) | others
        return run(settings, trainer, values).study.study_name

    assert studied(first.changes(first.best())) == first.study.study_name
    assert studied({"network.dropout": 0.1}) != first.study.study_name
    assert studied({}, train=VALUES["train"] | {"epochs": 3}) != first.study.study_name
    assert run(tuning(trials=1, pruner={"startup": 9, "warmup": 1})).study.study_name != first.study.study_name
    trainer.facts = trainer.facts | {"tags": {"split": "another"}}
    assert studied({}) != first.study.study_name


def test_two_processes_are_not_at_one_study(root):
    facts = Formula().facts
    with (
        opened(NAME, tuning(), VALUES, 42, facts),
        pytest.raises(InputError, match="another process is at this study"),
        opened(NAME, tuning(), VALUES, 42, facts),
    ):
        pass


def test_the_storage_is_the_one_that_the_environment_names(root, monkeypatch):
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{root}/shared.db")
    run(tuning(trials=1))
    assert (root / "shared.db").exists()
    assert not (root / "optuna.db").exists()


def test_a_storage_that_is_no_address_is_refused_by_its_variable(root, monkeypatch):
    monkeypatch.setenv("OPTUNA_STORAGE", "/shared/optuna.db")
    with pytest.raises(InputError, match=r"OPTUNA_STORAGE: .*; it must be a URL, such as sqlite:////shared/optuna.db"):
        run(tuning(trials=1))


@pytest.mark.parametrize("bound", [float("inf"), float("nan")])
def test_a_range_without_end_is_refused(bound):
    with pytest.raises(ValidationError, match="finite"):
        tuning(space={"lr": {"low": 1e-4, "high": bound, "log": True}})
