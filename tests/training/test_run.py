"""Two workers that want one training, and a checkpoint that other code began."""

import os
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from medpipe import tracking
from medpipe.training.run import tracked

WORKER = """
import sys
from pathlib import Path
from medpipe.training.run import tracked

# Opening a named pipe waits for the other side.
if sys.argv[1] == "second":
    Path("inside").read_text()
    Path("asking").write_text("")
with tracked("skin-b4", "skin", {"lr": 0.1}, Path("split"), [], "code") as (run, checkpoint):
    if sys.argv[1] == "first":
        Path("inside").write_text("")
        Path("asking").read_text()
    checkpoint.touch()
    run.log_epoch(1, {"loss": 0.5})
"""


def test_two_workers_do_one_training_one_after_the_other(root):
    (root / "split").mkdir()
    (root / "split/rows.parquet").write_bytes(b"rows")
    for pipe in ("inside", "asking"):
        os.mkfifo(root / pipe)
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, name], cwd=root) for name in ("first", "second")]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    client = tracking.connect()
    runs = client.search_runs([client.get_experiment_by_name("skin").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert not [path for path in (root / ".tmp/checkpoints").iterdir() if path.is_dir()]


def test_a_change_of_code_is_another_training(root):
    (root / "split").mkdir()
    (root / "split/rows.parquet").write_bytes(b"rows")
    seen = []
    for code in ("one", "two", "one"):
        with tracked("skin-b4", "skin", {"lr": 0.1}, root / "split", [], code) as (_, checkpoint):
            seen.append(checkpoint)
    assert seen[0] == seen[2] != seen[1]


def test_a_damaged_record_begins_another_run(root, capsys):
    (root / "split").mkdir()
    (root / "split/rows.parquet").write_bytes(b"rows")
    arguments = ("skin-b4", "skin", {"lr": 0.1}, root / "split", [], "code")
    with pytest.raises(SystemExit), tracked(*arguments) as (killed, checkpoint):
        raise SystemExit
    (checkpoint.parent / tracking.RECORD).write_bytes(b"")
    with tracked(*arguments) as (run, _):
        pass
    assert run.key != killed.key
    assert f"WARNING: {checkpoint.parent / tracking.RECORD}: damaged" in capsys.readouterr().err


def test_abandoned_checkpoints_are_removed_once_another_training_ends(root):
    (root / "split").mkdir()
    (root / "split/rows.parquet").write_bytes(b"rows")
    checkpoints = root / ".tmp/checkpoints"
    for name, days in (("abandoned", 31), ("interrupted", 29), ("training", 31)):
        (checkpoints / name).mkdir(parents=True)
        tracking.begin("skin", name, {}, {}, checkpoints / name)  # killed, it is left running
        (checkpoints / name / "state.npz").write_bytes(b"state")
        os.utime(checkpoints / name, (time.time() - days * 86400,) * 2)
    with FileLock(checkpoints / "training.lock"), tracked("skin-b4", "skin", {}, root / "split", [], "code"):
        pass
    left = sorted(path.name for path in checkpoints.iterdir() if path.is_dir())
    assert left == ["interrupted", "training"]
    client = tracking.connect()
    runs = {
        run.info.run_name: run.info for run in client.search_runs([client.get_experiment_by_name("skin").experiment_id])
    }
    assert {name: run.status for name, run in runs.items()} == {
        "abandoned": "KILLED",
        "interrupted": "RUNNING",
        "training": "RUNNING",
        "skin-b4": "FINISHED",
    }
    assert runs["abandoned"].end_time < runs["skin-b4"].end_time - 30 * 86400 * 1000
