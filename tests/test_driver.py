"""What kills leave of DVC's own files, who waits for whom, and what signals end: on DVC as it is."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from medpipe import driver, processes

# `wait` is a pipe: who reads from it knows that the stage runs, and it ends when `go` is written to.
DVC = """
    stages:
      made: {cmd: echo made > made, outs: [made]}
      waiting:
        cmd: sh -c 'echo $$ > wait; read line < go; cat made > waiting'
        deps: [made]
        outs: [waiting]
"""
REPRODUCE = (
    "import sys; from pathlib import Path; from medpipe import driver\n"
    "with driver.interruptible('it resumes'): driver.reproduce(Path.cwd(), *sys.argv[1:])"
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A DVC project with its first stage done."""
    root = tmp_path_factory.mktemp("done")
    (root / "dvc.yaml").write_text(textwrap.dedent(DVC))
    dvc(root, "init", "--quiet", "--no-scm")
    dvc(root, "repro", "--quiet", "made")
    return root


@pytest.fixture
def project(done, tmp_path, monkeypatch):
    """A copy of that project."""
    root = shutil.copytree(done, tmp_path / "project")
    for pipe in ("wait", "go"):
        os.mkfifo(root / pipe)
    monkeypatch.chdir(root)
    yield root
    processes.end(lambda process: processes.runs_in(process, root) and process.pid != os.getpid())


def dvc(root, *command):
    found = subprocess.run([*driver.DVC, *command], cwd=root, capture_output=True, text=True)
    return found.returncode, found.stdout + found.stderr


def begin(project, *command):
    """A process that brings DVC to the waiting stage, and the stage's process."""
    process = subprocess.Popen(
        [sys.executable, *command, "waiting"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    stage = psutil.Process(int((project / "wait").read_text()))
    return process, stage


def release(project):
    threading.Thread(target=(project / "go").write_text, args=("\n",), daemon=True).start()


def rwlock(project, pid, command):
    held = {"pid": pid, "cmd": command}
    text = json.dumps({"write": {"waiting": held}, "read": {"made": [held]}})
    (project / ".dvc/tmp/rwlock").write_text(text)
    return text


@pytest.mark.parametrize("share", [0, 0.05, 0.5, 0.99])
def test_an_rwlock_that_is_cut_is_healed(project, capsys, share):
    text, path = rwlock(project, 1, "dvc repro"), project / ".dvc/tmp/rwlock"
    path.write_text(text[: int(share * len(text))])
    driver.settle(project)
    assert not path.exists()
    assert ".dvc/tmp/rwlock" in capsys.readouterr().err


def test_dvc_refuses_an_rwlock_that_is_cut_until_it_is_healed(project):
    path = project / ".dvc/tmp/rwlock"
    path.write_text('{"write": {"wai')
    code, printed = dvc(project, "repro", "made")
    assert code
    assert "JSON structure is corrupted" in printed
    driver.settle(project)
    assert dvc(project, "repro", "made")[0] == 0


def test_what_a_dead_process_or_one_that_got_its_id_holds_is_free(project, capsys):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        rwlock(project, pid, "/bin/dvc repro waiting")
        driver.settle(project)
        assert json.loads((project / ".dvc/tmp/rwlock").read_text()) == {"write": {}, "read": {}}
        assert ".dvc/tmp/rwlock" in capsys.readouterr().err


NO_HASH = b"schema: '2.0'\nstages:\n  made:\n    outs:\n"


@pytest.mark.parametrize("cut", [lambda b: b[:1], lambda b: b[: len(b) // 2], lambda b: b[:-1], lambda b: NO_HASH])
def test_a_dvc_lock_that_is_cut_is_put_back(project, capsys, cut):
    path = project / "dvc.lock"
    whole = path.read_bytes()
    driver.settle(project)
    assert not capsys.readouterr().err
    path.write_bytes(cut(whole))
    driver.settle(project)
    assert path.read_bytes() == whole
    assert "dvc.lock" in capsys.readouterr().err


def test_a_dvc_lock_that_is_cut_and_nowhere_whole_is_removed(project):
    path = project / "dvc.lock"
    path.write_bytes(path.read_bytes()[:-1])
    driver.settle(project)
    assert not path.exists()
    assert dvc(project, "repro", "made")[0] == 0


@pytest.mark.parametrize("first", [("-m", "dvc", "repro"), ("-c", REPRODUCE)], ids=["dvc", "driver"])
def test_a_second_driver_waits_and_says_for_whom(project, first):
    running, _ = begin(project, *first)
    second = subprocess.Popen(
        [sys.executable, "-c", REPRODUCE, "waiting"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    said = second.stdout.readline()
    assert said.startswith(f"waiting for process {running.pid} (")
    assert "waiting" in said
    release(project)
    printed = second.communicate(timeout=60)[0]
    running.communicate()
    assert running.returncode == second.returncode == 0, printed
    assert "Stage 'waiting' didn't change" in printed


def test_an_rwlock_that_is_cut_is_left_to_a_dvc_that_lives(project):
    running, _ = begin(project, "-m", "dvc", "repro")
    (project / ".dvc/tmp/rwlock").write_text('{"wri')
    second = subprocess.Popen(
        [sys.executable, "-c", REPRODUCE, "made"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    assert second.stdout.readline().startswith(f"waiting for process {running.pid} (")
    assert (project / ".dvc/tmp/rwlock").read_text() == '{"wri'
    release(project)
    running.communicate()
    printed = second.communicate(timeout=60)[0]
    assert second.returncode == 0
    assert "healed .dvc/tmp/rwlock" in printed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_dvc_and_its_stage_and_says_where_it_goes_on(project, number, code):
    running, stage = begin(project, "-c", REPRODUCE)
    family = psutil.Process(running.pid).children(recursive=True)
    assert stage in family
    running.send_signal(number)
    printed = running.communicate(timeout=60)[0]
    assert running.returncode == code, printed
    assert printed.endswith("it resumes\n")
    assert not any(map(processes.lives, family))
    assert not any(json.loads((project / ".dvc/tmp/rwlock").read_text()).values())  # DVC itself let go
    release(project)
    again, _ = begin(project, "-c", REPRODUCE)
    printed = again.communicate(timeout=60)[0]
    assert again.returncode == 0
    assert "healed" not in printed


def test_a_stage_whose_dvc_was_killed_is_ended_by_the_next_driver(project, capsys):
    running, stage = begin(project, "-m", "dvc", "repro")
    running.kill()
    running.stdout.close()
    running.wait()
    assert processes.lives(stage)
    driver.settle(project)
    assert not processes.lives(stage)
    printed = capsys.readouterr().err
    assert f"ended process {stage.pid}, a stage whose DVC was killed" in printed
    assert "healed .dvc/tmp/rwlock" in printed


def test_what_dvc_says_of_a_dvc_yaml_that_it_cannot_read_is_shown(project):
    repository = Path(__file__).parents[1]
    for file in repository.glob("*.yaml"):
        shutil.copy(file, project)
    (project / "dvc.yaml").write_text("stages: [")
    repro = subprocess.run(
        [sys.executable, repository / "stages/repro.py"], cwd=project, capture_output=True, text=True
    )
    assert repro.returncode == 1
    assert "dvc.yaml' is invalid" in repro.stderr
    assert "Traceback" not in repro.stderr
