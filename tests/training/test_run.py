"""Two workers that want one training, and a checkpoint that other code began."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock

from medpipe import atomic, driver, tracking
from medpipe.training.run import tracked

TAKEN = "skin-b4: taken from a training that just ended elsewhere, or whose DVC was killed"
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


def folders(root: Path) -> list[str]:
    """How the folders beside checkpoints' locks end."""
    return [path.suffix for path in (root / ".tmp/checkpoints").iterdir() if path.is_dir()]


def statuses() -> list[str]:
    client = tracking.connect()
    return [run.info.status for run in client.search_runs([client.get_experiment_by_name("skin").experiment_id])]


def test_what_another_worker_delivered_meanwhile_is_taken(root, start):
    first, second = start("ends"), start("second")
    said = [worker.communicate(timeout=120)[0].strip() for worker in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert said == ["begins", TAKEN]
    assert outputs(root / "ends") == outputs(root / "second")
    assert (root / "ends/models/skin-b4/model.keras").samefile(root / "second/models/skin-b4/model.keras")
    assert statuses() == ["FINISHED"]
    assert folders(root) == [".delivered"]


def dvc(root: Path, *command: str) -> None:
    subprocess.run([*driver.DVC, *command], cwd=root, check=True)


def test_what_dvc_has_is_trained_again_and_what_a_killed_one_left_is_taken(root, start):
    dvc(root, "init", "--quiet", "--no-scm", "--force")
    said = [start(role).communicate(timeout=120)[0].strip() for role in ("first", "again")]
    assert said == ["begins", TAKEN]
    assert outputs(root / "first") == outputs(root / "again")
    assert statuses() == ["FINISHED"]
    dvc(root, "add", "--quiet", "again/models/skin-b4")
    [listed] = (root / ".dvc/cache").rglob("*.dir")
    listed.rename(root / "listed")  # DVC was killed while it committed
    assert start("committed-in-part").communicate(timeout=120)[0].strip() == TAKEN
    (root / "listed").rename(listed)
    assert start("forced").communicate(timeout=120)[0].strip() == "begins"
    assert outputs(root / "forced")["model.keras"] != outputs(root / "first")["model.keras"]
    assert statuses() == ["FINISHED"] * 2


def test_what_was_delivered_is_kept_for_a_day(root):
    for name in ("one", "two"):
        with (
            tracked(Path("models") / name, "skin", {}, {}, "code") as (run, _),
            atomic.folder(Path("models") / name) as folder,
        ):
            run.write(folder)
        assert folders(root) == [".delivered"]
        [delivered] = (root / ".tmp/checkpoints").glob("*.delivered")
        os.utime(delivered, (time.time() - 2 * 86400,) * 2)


@pytest.mark.parametrize(("fate", "code"), [("fails", 1), ("killed", -signal.SIGKILL)])
def test_where_the_first_does_not_deliver_the_second_goes_on(root, start, fate, code):
    first, second = start(fate), start("second")
    said = [worker.communicate(timeout=120)[0].strip() for worker in (first, second)]
    assert (first.returncode, second.returncode) == (code, 0)
    assert said == ["begins", "goes on"]
    assert statuses() == ["FINISHED"]
    assert folders(root) == [".delivered"]


def test_workers_of_other_settings_both_train(root, start):
    first, second = start("ends"), start("second", lr=0.2)
    said = [worker.communicate(timeout=120)[0].strip() for worker in (first, second)]
    assert said == ["begins"] * 2
    assert outputs(root / "ends")["model.keras"] != outputs(root / "second")["model.keras"]
    assert statuses() == ["FINISHED"] * 2


def test_a_change_of_code_is_another_training(root):
    seen = []
    for code in ("one", "two", "one"):
        with suppress(KeyError), tracked(Path("models/skin-b4"), "skin", {"lr": 0.1}, {}, code) as (_, checkpoint):
            seen.append(checkpoint)
            raise KeyError
    assert seen[0] == seen[2] != seen[1]


def test_abandoned_checkpoints_are_removed_once_another_training_ends(root):
    checkpoints = root / ".tmp/checkpoints"
    for name, days in (("abandoned", 31), ("interrupted", 29), ("training", 31)):
        (checkpoints / name).mkdir(parents=True)
        tracking.begin("skin", name, {}, {}, checkpoints / name)  # killed, it is left running
        (checkpoints / name / "state.npz").write_bytes(b"state")
        os.utime(checkpoints / name, (time.time() - days * 86400,) * 2)
    with FileLock(checkpoints / "training.lock"), tracked(Path("models/skin-b4"), "skin", {}, {}, "code"):
        Path("models/skin-b4").mkdir(parents=True)
    left = sorted(path.name for path in checkpoints.iterdir() if path.is_dir() and not path.suffix)
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
