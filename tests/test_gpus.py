"""Which GPUs there are, and one for each process. No GPU here: a script on PATH speaks for nvidia-smi."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import pytest

from medpipe import gpus
from medpipe.fingerprint import SOURCE, reached

REPOSITORY = Path(__file__).parents[1]
# Of this run of the tests alone, and the same in all its processes.
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
KINDS = ("GPU", "GPU", "GPU", "MIG", "MIG")
A, B, C, PART, OTHER_PART = (f"{kind}-{uuid5(NAMESPACE_OID, f'{RUN} {n}')}" for n, kind in enumerate(KINDS))
WHOLE = f"GPU 0: NVIDIA A100-SXM4-40GB (UUID: {A})\nGPU 1: NVIDIA A100-SXM4-40GB (UUID: {B})\n"
ONE = WHOLE.splitlines(keepends=True)[0]
MIG = f"""\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: {A})
  MIG 3g.20gb     Device  0: (UUID: {PART})
  MIG 3g.20gb     Device  1: (UUID: {OTHER_PART})
GPU 1: NVIDIA A100-SXM4-40GB (UUID: {B})
"""
HOLD = """
import os, sys
from medpipe import gpus
print(gpus.hold() and gpus.hold(), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A function that puts one on PATH: it lists `gpus`, or does what `script` says."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def write(gpus="", script="cat <<END\n{}END"):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script.format(gpus)}\n")
        path.chmod(0o755)

    return write


@pytest.fixture
def start():
    """A function that starts a process which holds a GPU until it is ended."""
    processes = []

    def start(**environment):
        pipe = subprocess.PIPE
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLD],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                text=True,
                env=os.environ | environment,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("listed", "chosen", "expected"),
    [
        (WHOLE, None, [A, B]),
        (WHOLE, "1", [B]),
        (WHOLE, "1, 0", [B, A]),
        (WHOLE, B, [B]),
        (WHOLE, B[:12], [B]),
        (WHOLE, "0,7,1", [A]),
        (WHOLE, "", []),
        (WHOLE, "-1", []),
        (MIG, None, [PART, OTHER_PART, B]),
        (MIG, "0", [PART, OTHER_PART]),
        (MIG, A, [PART, OTHER_PART]),
        (MIG, f"{OTHER_PART},1", [OTHER_PART, B]),
        ("", "0", []),
    ],
)
def test_gpus_and_their_parts_are_those_that_are_named(listed, chosen, expected, nvidia_smi, monkeypatch, capsys):
    nvidia_smi(listed)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert [device.uuid for device in gpus.usable()] == expected
    assert not capsys.readouterr().err


def test_an_environment_that_names_no_gpu_is_warned_of(nvidia_smi, monkeypatch, capsys):
    nvidia_smi(WHOLE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert gpus.usable() == []
    assert re.search(f"WARNING: CUDA_VISIBLE_DEVICES is '2,0' .* {A}, {B}$", capsys.readouterr().err.strip())


@pytest.mark.parametrize("chosen", [None, "1", B])
def test_a_container_with_some_of_the_hosts_gpus_takes_those(chosen, nvidia_smi, start):
    """Device files nvidia2 and nvidia3: NVML counts them from 0, and no number of a file is CUDA's."""
    nvidia_smi(WHOLE)
    process = start(**({} if chosen is None else {"CUDA_VISIBLE_DEVICES": chosen}))
    assert process.stdout.readline().split() == ["True", B if chosen else A]


@pytest.mark.parametrize(("listed", "devices"), [(WHOLE, [A, B]), (MIG, [PART, OTHER_PART, B]), (ONE, [A])])
def test_each_process_holds_one_and_the_next_waits_until_one_is_killed(listed, devices, nvidia_smi, start):
    nvidia_smi(listed)
    holders = []
    for device in devices:
        holders.append(start())
        assert holders[-1].stdout.readline().split() == ["True", device]
    late = start()
    waiting = late.stderr.readline()  # which it says once, when it has tried all
    assert all(f"{d} is held by process {p.pid} (" in waiting for d, p in zip(devices, holders, strict=True))
    holders[-1].send_signal(signal.SIGKILL)
    assert late.stdout.readline().split() == ["True", devices[-1]]
    assert late.communicate()[1] == ""


def test_one_that_the_environment_names_is_waited_for_though_others_are_free(nvidia_smi, start):
    nvidia_smi(WHOLE)
    first = start(CUDA_VISIBLE_DEVICES="1")
    assert first.stdout.readline().split() == ["True", B]
    second = start(CUDA_VISIBLE_DEVICES=B)
    assert f"{B} is held by process {first.pid}" in second.stderr.readline()
    first.communicate()  # it ends well
    assert second.stdout.readline().split() == ["True", B]


def test_a_holder_whose_queue_of_questions_is_full_is_asked_in_vain_and_nobody_hangs(nvidia_smi, start):
    nvidia_smi(f"GPU 0: NVIDIA A100 (UUID: {C})\n")
    holder = start()
    assert holder.stdout.readline().split() == ["True", C]
    questions, refused = [], False
    while not refused:
        questions.append(socket.socket(socket.AF_UNIX))
        questions[-1].setblocking(False)
        refused = questions[-1].connect_ex(gpus._address(gpus.Device(C, C))) == errno.EAGAIN
    assert gpus._holder(gpus.Device(C, C)) == "a process that cannot be seen from here"
    for question in questions:
        question.close()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (
            "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
            "Driver/library version mismatch",
        ),
        ("exec tail -f /dev/null", "timed out after 0.2 seconds"),
    ],
)
def test_an_nvidia_smi_that_fails_or_hangs_is_said_and_nothing_is_held(script, why, nvidia_smi, monkeypatch, capsys):
    nvidia_smi(script=script)
    monkeypatch.setattr(gpus, "TIMEOUT", 0.2)
    assert not gpus.hold()
    error = capsys.readouterr().err
    assert error.startswith("WARNING: nvidia-smi does not list the GPUs, so none is held: ")
    assert why in error


def test_a_gpu_without_nvidia_smi_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path)
    assert not gpus.hold()
    assert not capsys.readouterr().err
    (tmp_path / "nvidia3").touch()
    assert not gpus.hold()
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_backend_holds_a_gpu_and_says_who_uses_it_when_memory_runs_out(backend, nvidia_smi):
    """The error is the backend's own, of the CPU's memory. That it does not use the GPU is said too."""
    users = "41, /usr/bin/python3, 11000 MiB\n42, jupyter-lab, 27000 MiB"
    nvidia_smi(MIG, f'case "$*" in -L) cat <<END\n{{}}END\n;; *--id={A}) echo "{users}" ;; esac')
    program = "from medpipe import backend; import keras; backend.start(0, 'float32'); keras.ops.ones((2**46,))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {"KERAS_BACKEND": backend}
    )
    assert done.returncode == 1
    assert f"a GPU that {backend} does not use" in done.stderr
    assert "`make setup GPU=1`" in done.stderr
    assert f"The memory of {PART} ran out" in done.stderr
    assert users in done.stderr


def test_another_error_says_nothing_of_gpus(nvidia_smi):
    nvidia_smi(WHOLE)
    program = "from medpipe import gpus; gpus.hold(); raise ValueError('labels')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.endswith("ValueError: labels\n")


def test_every_stage_that_computes_holds_a_gpu_before_it_takes_a_lock():
    """What reaches the backend starts it, which holds a GPU, before it opens a run or reads a model."""
    backend, unseen = SOURCE / "medpipe/backend.py", "medpipe/registry/unseen.py"  # which starts it itself
    scripts = [*(REPOSITORY / "stages").glob("*.py"), SOURCE / unseen, SOURCE / "medpipe/tuning/worker.py"]
    computing = [path for path in scripts if backend in reached(path, exempt=() if unseen in str(path) else (unseen,))]
    names = {path.stem for path in computing}
    assert names == {"train", "fuse", "evaluate", "generate", "measure", "probe", "unseen", "worker"}
    for path in computing:
        before, start, _ = path.read_text().partition("backend.start(")
        assert start, path
        assert not re.search(r"\b(tracked|reopen|delivery\.read|deliver\.read|build|fit|FileLock)\(", before), path


def test_the_makefile_takes_cudas_wheels_where_the_machine_shows_a_gpu(tmp_path, nvidia_smi):
    def lock(devices):
        command = ["make", "--dry-run", "--file", REPOSITORY / "Makefile", "setup", f"DEVICES={devices}"]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return re.search(r"--compile-bytecode (\S+)", done.stdout)[1]

    for name in ("requirements.lock", "requirements-gpu.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / "dxg").touch()
    (tmp_path / "nvidia3").touch()
    none = tmp_path / "none"
    nvidia_smi(script="echo 'NVIDIA-SMI has failed'; exit 9")
    assert lock(none) == "requirements.lock"
    assert lock(f"{none} {tmp_path}/dxg") == "requirements-gpu.lock"
    assert lock(f"{tmp_path}/nvidia[0-9]* {none}") == "requirements-gpu.lock"
    nvidia_smi(WHOLE)
    assert lock(none) == "requirements-gpu.lock"
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.synced-0").touch()
    os.utime(tmp_path / ".venv/.synced-0", (0, 0))
    assert lock(none) == "requirements.lock"  # an environment stays as it is
