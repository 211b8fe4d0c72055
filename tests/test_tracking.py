import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from medpipe import provenance, store, tracking
from medpipe.errors import InputError

SETTINGS = {"lr": 2e-5, "network": {"dropout": 0.3, "units": (100, 64)}, "mixing": None, "merge": {}}
EPOCHS = [{"loss": 1 / (i + 1), "val_loss": 0.1 + 0.2 * i} for i in range(4)]

# What a training does, as a program: argv are the checkpoint's folder, the epochs and what happens then.
TRAINING = """
import os, signal, sys, time
from pathlib import Path
from medpipe import store, tracking
folder, epochs, then = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with tracking.begin("skin", folder.name, {"lr": 0.1}, {}, folder) as run:
    for i in range(epochs):
        run.log_epoch(i, {"loss": 1 / (i + 1), "val_loss": 0.1 + 0.2 * i})
    if then != "end":
        os.kill(os.getpid(), getattr(signal, then))
        signal.pause()
"""


def train(*arguments):
    command = [sys.executable, "-c", TRAINING, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def begin(name="skin-b4", folder=Path("checkpoint"), task="skin"):
    return tracking.begin(task, name, SETTINGS, {"split": "5f3a"}, folder)


def delivered(run, folder):
    folder.mkdir(parents=True)
    run.write(folder)
    pd.DataFrame(EPOCHS).rename_axis("epoch").assign(phase="main").to_csv(folder / "history.csv")
    return folder


def curves(run):
    names = [name for name in run.client.get_run(run.run_id).data.metrics if name.startswith("epoch/")]
    return {name: [(p.step, p.value) for p in run.client.get_metric_history(run.run_id, name)] for name in names}


def stored(run):
    return run.client.get_run(run.run_id)


LOGGED = {f"epoch/{key}": [(i, values[key]) for i, values in enumerate(EPOCHS)] for key in EPOCHS[0]}


def test_settings_become_flat_parameters():
    assert tracking.flatten(SETTINGS) == {
        "lr": "2e-05",
        "network.dropout": "0.3",
        "network.units": "[100, 64]",
        "mixing": "null",
        "merge": "{}",
    }


def test_a_run_holds_what_it_was_begun_with_and_every_epoch(root, monkeypatch, tmp_path):
    copy = tmp_path / "experiment"  # DVC runs some experiments in a copy, and names the repository in DVC_ROOT
    copy.mkdir()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_EXP_NAME", "lanky-pogo")
    monkeypatch.setenv("DVC_STAGE", "train@skin-b4")
    with begin() as run:
        for epoch, values in enumerate(EPOCHS):
            run.log_epoch(epoch, values)
    found = stored(run)
    assert found.info.run_name == "skin-b4 (lanky-pogo)"
    assert found.info.status == "FINISHED"
    assert found.data.params == tracking.flatten(SETTINGS)
    assert found.data.tags["medpipe.run"] == run.key
    assert found.data.tags["medpipe.split"] == "5f3a"
    assert found.data.tags["medpipe.experiment"] == "lanky-pogo"
    assert found.data.tags["medpipe.stage"] == "train@skin-b4"
    assert curves(run) == LOGGED
    assert run.client.get_experiment_by_name("skin").artifact_location == (root / "mlartifacts/skin").as_uri()
    assert sorted(path.name for path in copy.iterdir()) == ["checkpoint"]


def test_tags_name_the_commit_and_whether_the_code_differs_from_it(root, monkeypatch):
    def git(*command):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *identity, *command], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    Path("params.yaml").write_text("lr: 0.1\n")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "first")
    Path("metrics.json").write_text("{}")  # what a stage writes is no change of the code
    clean = begin(folder=Path("one"))
    Path("params.yaml").write_text("lr: 0.2\n")
    dirty = begin(folder=Path("two"))
    assert clean.record["tags"]["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert [run.record["tags"]["medpipe.dirty"] for run in (clean, dirty)] == ["false", "true"]


@pytest.mark.parametrize(("error", "status"), [(ValueError("loss is NaN"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_run_that_breaks_off_says_so(root, error, status):
    with pytest.raises(type(error)), begin() as run:
        raise error
    assert stored(run).info.status == status
    assert stored(run).data.tags.get("medpipe.error") == ("ValueError: loss is NaN" if status == "FAILED" else None)
    with begin() as again:
        pass
    assert again.run_id == run.run_id
    assert stored(run).info.status == "FINISHED"
    assert "medpipe.error" not in stored(run).data.tags


def test_sigterm_ends_a_run_as_killed(root):
    process = train("skin-b4", 1, "SIGTERM")
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert stored(tracking.reopen(Path("skin-b4"))).info.status == "KILLED"


def test_a_training_resumed_after_sigkill_goes_on_in_its_run(root):
    process = train("skin-b4", 3, "SIGKILL")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    killed = tracking.reopen(Path("skin-b4"))
    assert stored(killed).info.status == "RUNNING"
    with tracking.begin("skin", "skin-b4", {"lr": 0.1}, {}, Path("skin-b4")) as run:
        for epoch, values in list(enumerate(EPOCHS))[1:]:  # from its checkpoint, an epoch behind
            run.log_epoch(epoch, values)
    assert (run.key, run.run_id) == (killed.key, killed.run_id)
    assert curves(run) == LOGGED
    assert stored(run).info.status == "FINISHED"


def test_a_run_that_the_store_lacks_is_rebuilt_as_it_was(root, new_root):
    with begin() as run:
        for epoch, values in enumerate(EPOCHS):
            run.log_epoch(epoch, values)
        folder = delivered(run, root / "models" / "skin-b4")
    assert tracking.reopen(folder).run_id == run.run_id
    new_root("clone")
    rebuilt = tracking.reopen(folder)
    assert rebuilt.run_id != run.run_id
    assert tracking.reopen(folder).run_id == rebuilt.run_id
    before, after = stored(run), stored(rebuilt)
    assert after.data.params == before.data.params
    assert after.data.tags == before.data.tags
    assert after.info.run_name == before.info.run_name
    assert after.info.start_time == before.info.start_time
    assert after.info.status == "FINISHED"
    assert curves(rebuilt) == curves(run) == LOGGED


def test_a_run_may_have_more_parameters_than_mlflow_takes_at_once(root):
    settings = {f"setting-{i}": i for i in range(230)}
    run = tracking.begin("skin", "skin-b4", settings, {}, Path("checkpoint"))
    assert stored(run).data.params == {name: str(value) for name, value in settings.items()}


@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_inputs"])
def test_a_training_killed_while_its_run_is_made_goes_on_in_it(root, monkeypatch, call):
    from mlflow import MlflowClient

    real = getattr(MlflowClient, call)

    def killed_after(*arguments, **named):
        real(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, killed_after)
        with pytest.raises(KeyboardInterrupt):
            begin()
    with begin() as run:
        pass
    [found] = run.client.search_runs([stored(run).info.experiment_id])
    assert (found.info.run_id, found.info.status) == (run.run_id, "FINISHED")
    assert found.data.params == tracking.flatten(SETTINGS)


def test_a_rebuilding_that_was_killed_goes_on(root, new_root, monkeypatch):
    from mlflow import MlflowClient

    with begin() as run:
        for epoch, values in enumerate(EPOCHS):
            run.log_epoch(epoch, values)
        folder = delivered(run, root / "models" / "skin-b4")
    new_root("clone")

    def killed(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", killed)
        with pytest.raises(KeyboardInterrupt):
            tracking.reopen(folder)
    rebuilt = tracking.reopen(folder)
    [found] = rebuilt.client.search_runs([stored(rebuilt).info.experiment_id])
    assert (found.info.status, found.data.tags, curves(rebuilt)) == (
        "FINISHED",
        run.record["tags"] | found.data.tags,
        LOGGED,
    )
    assert tracking.REBUILDING not in found.data.tags


def test_split_and_data_are_inputs_and_the_machine_is_watched(root, capfd):
    with tracking.begin("skin", "skin-b4", {}, {"split": "5f3a", "data.skin-480": "77ab"}, Path("checkpoint")) as run:
        pass
    found = stored(run)
    inputs = [(one.dataset.name, one.dataset.digest, one.dataset.source) for one in found.inputs.dataset_inputs]
    assert sorted(inputs) == [
        ("skin split", "5f3a", '{"uri": "data/split/skin"}'),
        ("skin-480", "77ab", '{"uri": "data/prepared/skin-480"}'),
    ]
    assert found.data.metrics["system/system_memory_usage_megabytes"] > 0
    assert "cpu_utilization_percentage" in " ".join(found.data.metrics)
    assert "system metrics" not in capfd.readouterr().err
    kind = run.client.get_experiment(found.info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"


def test_an_address_is_told_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@server:5000")
    assert store.address(store.connect()) == "http://server:5000"


@pytest.mark.parametrize("name", ["what? (50 %20) [#1]", "it's new"])
def test_a_repository_may_lie_anywhere(root, new_root, name):
    place = new_root(name)
    with begin(folder=place / "checkpoint") as run:
        run.log_artifacts(place / "checkpoint", "record")
    assert [path.name for path in (place / "mlartifacts").glob("skin/*/artifacts/record/*")] == ["run.json"]
    assert [file.path for file in run.client.list_artifacts(run.run_id, "record")] == ["record/run.json"]
    assert sorted(path.name for path in place.parent.iterdir()) == sorted({"repository", name})


def test_where_git_cannot_tell_the_commit_the_run_and_stderr_say_so_once(root, monkeypatch, capfd):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
    provenance._warn.cache_clear()
    runs = [begin(folder=Path(name)) for name in ("one", "two")]
    assert all(run.record["tags"]["medpipe.commit"].startswith("unknown: fatal: not a git") for run in runs)
    assert capfd.readouterr().err.count("WARNING: runs cannot be traced to their code") == 1


def test_another_library_than_the_one_that_trained_is_told(root):
    tags = begin().record["tags"]
    assert provenance.differences(tags) == ""
    said = provenance.differences(tags | {"medpipe.version.keras": "2.1"})
    assert said == f"keras: trained with 2.1, now {provenance.versions()['keras']}"
    of = {"one": tags, "two": tags | {"medpipe.version.keras": "2.1"}, "three": tags | {"medpipe.version.keras": "2.1"}}
    assert provenance.grouped(of) == {said: ["two", "three"]}


def test_a_backend_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "absent")
    script = "from medpipe import provenance; print('backend' in provenance.chosen())"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "False"


def test_a_run_without_epochs_is_rebuilt(root, new_root):
    run = begin("skin-stacked")
    (root / "models").mkdir()
    run.write(root / "models")
    new_root("clone")
    assert stored(tracking.reopen(root / "models")).data.metrics == {}


def test_workers_that_start_at_once_on_a_fresh_repository_all_succeed(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workers = [train(tmp_path / f"model-{i}", 30, "end") for i in range(2)]
    for worker in workers:
        _, errors = worker.communicate()
        assert worker.returncode == 0, errors
    for i in range(2):
        assert [step for step, _ in curves(tracking.reopen(tmp_path / f"model-{i}"))["epoch/loss"]] == list(range(30))


def test_a_process_killed_while_it_makes_the_tables_leaves_no_store_that_cannot_be_used(tmp_path):
    (tmp_path / ".git").mkdir()
    connects = "from medpipe import tracking; tracking.connect()"
    # After the first half of MLflow's migrations of an empty database.
    killed = (
        "import os, signal, sqlalchemy; made = []\n"
        "@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, 'after_cursor_execute')\n"
        "def kill(connection, cursor, statement, *_):\n"
        "    if statement.strip().startswith('CREATE TABLE'): made.append(statement)\n"
        f"    if len(made) == 20: os.kill(os.getpid(), signal.SIGKILL)\n{connects}"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "DVC_ROOT")}
    codes = [
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment).returncode
        for script in (killed, connects)
    ]
    assert codes == [-signal.SIGKILL, 0]
    assert {path.name for path in tmp_path.iterdir()} == {".git", "mlflow.db", "mlflow.db.lock"}


def test_an_experiment_deleted_in_the_ui_comes_back(root):
    client = begin(folder=Path("one")).client
    client.delete_experiment(client.get_experiment_by_name("skin").experiment_id)
    begin(folder=Path("two"))
    assert client.get_experiment_by_name("skin").lifecycle_stage == "active"


def test_a_server_named_in_the_environment_is_used(root, monkeypatch, empty_store):
    shutil.copy(empty_store / "mlflow.db", root / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/other.db")
    run = begin()
    assert stored(run).data.tags["medpipe.run"] == run.key
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.connect().get_experiment_by_name("skin") is None


def test_the_root_is_dvcs_or_the_next_repository_upwards(tmp_path, monkeypatch):
    (tmp_path / "repository/.dvc").mkdir(parents=True)
    (tmp_path / "repository/stages").mkdir()
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path / "repository/stages")
    assert store.root() == tmp_path / "repository"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert store.root() == tmp_path
    monkeypatch.delenv("DVC_ROOT")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="run from the pipeline's root"):
        store.root()


def test_a_model_without_a_record_is_an_error_that_says_what_to_do(root):
    with pytest.raises(InputError, match=r"run\.json: not found; train the model, or `dvc pull` it"):
        tracking.reopen(root / "models/skin-b4")


@pytest.mark.parametrize("content", [b"", b'{"key": "5f', b"\0" * 40, b"\xff\xfe", b"null", b"{}"])
def test_a_damaged_record_beside_a_checkpoint_is_passed_over(root, capsys, content):
    begin().kill()
    (Path("checkpoint") / tracking.RECORD).write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint/run.json: damaged"):
        tracking.read(Path("checkpoint"))
    again = begin()
    assert "checkpoint/run.json: damaged" in capsys.readouterr().err
    assert tracking.read(Path("checkpoint")) == again.record
    assert stored(again).info.status == "RUNNING"


def test_importing_is_cheap():
    heavy = "import sys; from medpipe import tracking; print({'mlflow', 'pandas', 'filelock'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", heavy], text=True).strip() == "set()"
