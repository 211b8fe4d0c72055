"""Two workers that want one training, and a checkpoint that other code began."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from medpipe import tracking
from medpipe.training.run import tracked

WORKER = """
import os, signal
from pathlib import Path
from medpipe import atomic
from medpipe.training.run import tracked

def meet(first):
    # Opening a named pipe waits for the other side.
    Path("../inside").write_text("") if first else Path("../inside").read_text()
    Path("../asking").read_text() if first else Path("../asking").write_text("")

role, output = os.environ["ROLE"], Path("models/skin-b4")
if role == "second":
    meet(False)
with tracked(output, "skin", {"lr": float(os.environ["LR"])}, {}, "code") as begun:
    if begun is not None:
        run, checkpoint = begun
        print("goes on" if checkpoint.exists() else "begins")
        checkpoint.touch()
        if role in ("ends", "fails", "killed"):
            meet(True)
        if role == "fails":
            raise KeyError
        if role == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        run.log_epoch(1, {"loss": 0.5})
        with atomic.folder(output) as folder:
            (folder / "model.keras").write_bytes(os.urandom(8))
            run.write(folder)
"""


@pytest.fixture
def start(root):
    """A function that starts a worker in a copy of its own; all bear one command, as those of two experiments do."""
    (root / "stage.py").write_text(WORKER)
    for pipe in ("inside", "asking"):
        os.mkfifo(root / pipe)

    def start(role: str, lr: float = 0.1) -> subprocess.Popen:
        (root / role).mkdir()
        environment = os.environ | {"ROLE": role, "LR": str(lr)}
        command = [sys.executable, "../stage.py"]
        return subprocess.Popen(command, cwd=root / role, env=environment, stdout=subprocess.PIPE, text=True)

    return start


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "models/skin-b4").iterdir()}


def statuses() -> list[str]:
    client = tracking.connect()
    return [run.info.status for run in client.search_runs([client.get_experiment_by_name("skin").experiment_id])]


def test_what_another_worker_delivered_meanwhile_is_taken(root, start):
    first, second = start("ends"), start("second")
    said = [worker.communicate(timeout=120)[0].strip() for worker in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert said == ["begins", "skin-b4: another worker has trained it meanwhile; its model is taken"]
    assert outputs(root / "ends") == outputs(root / "second")
    assert (root / "ends/models/skin-b4/model.keras").samefile(root / "second/models/skin-b4/model.keras")
    assert statuses() == ["FINISHED"]
    assert not [path for path in (root / ".tmp/checkpoints").iterdir() if path.is_dir()]
    # One that begins later was told to train.
    later = start("later")
    assert later.communicate(timeout=120)[0].strip() == "begins"
    assert outputs(root / "later")["model.keras"] != outputs(root / "second")["model.keras"]
    assert statuses() == ["FINISHED"] * 2


def test_what_was_delivered_before_a_process_began_is_not_taken_and_goes(root):
    def trained() -> bool:
        with tracked(Path("models/skin-b4"), "skin", {}, {}, "code") as begun:
            return begun is not None

    assert trained()
    [lock] = (root / ".tmp/checkpoints").iterdir()
    own, ended, alive = (lock.with_suffix(f".{pid}") for pid in (os.getpid(), 2**22 + 1, os.getppid()))
    for folder in (own, ended, alive):
        folder.mkdir()
    assert not trained()  # made since this process began
    assert sorted((root / ".tmp/checkpoints").iterdir()) == sorted([alive, lock])
    own.mkdir()
    os.utime(own, (psutil.Process().create_time() - 1,) * 2)
    assert trained()
    assert sorted((root / ".tmp/checkpoints").iterdir()) == sorted([alive, lock])


@pytest.mark.parametrize(("fate", "code"), [("fails", 1), ("killed", -signal.SIGKILL)])
def test_where_the_first_does_not_deliver_the_second_goes_on(root, start, fate, code):
    first, second = start(fate), start("second")
    said = [worker.communicate(timeout=120)[0].strip() for worker in (first, second)]
    assert (first.returncode, second.returncode) == (code, 0)
    assert said == ["begins", "goes on"]
    assert statuses() == ["FINISHED"]
    assert not [path for path in (root / ".tmp/checkpoints").iterdir() if path.is_dir()]


def test_workers_of_other_settings_both_train(root, start):
    first, second = start("ends"), start("second", lr=0.2)
    said = [worker.communicate(timeout=120)[0].strip() for worker in (first, second)]
    assert said == ["begins"] * 2
    assert outputs(root / "ends")["model.keras"] != outputs(root / "second")["model.keras"]
    assert statuses() == ["FINISHED"] * 2


def test_a_change_of_code_is_another_training(root):
    seen = []
    for code in ("one", "two", "one"):
        with tracked(Path("models/skin-b4"), "skin", {"lr": 0.1}, {}, code) as (_, checkpoint):
            seen.append(checkpoint)
    assert seen[0] == seen[2] != seen[1]


def test_abandoned_checkpoints_are_removed_once_another_training_ends(root):
    checkpoints = root / ".tmp/checkpoints"
    for name, days in (("abandoned", 31), ("interrupted", 29), ("training", 31)):
        (checkpoints / name).mkdir(parents=True)
        tracking.begin("skin", name, {}, {}, checkpoints / name)  # killed, it is left running
        (checkpoints / name / "state.npz").write_bytes(b"state")
        os.utime(checkpoints / name, (time.time() - days * 86400,) * 2)
    with FileLock(checkpoints / "training.lock"), tracked(Path("models/skin-b4"), "skin", {}, {}, "code"):
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
