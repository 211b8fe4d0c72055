"""DVC's calls in a workspace: one driver of them at a time, what killed ones left healed, and ended with their driver.

SIGKILL or a power cut can leave DVC's own files cut in the middle, for DVC writes them in place, or held by a process
that is no more; DVC then refuses everything. What no living process holds is healed before each call.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import yaml
from dvc.lock import LockError, make_lock
from dvc.rwlock import SCHEMA as RWLOCK
from dvc.schema import COMPILED_LOCKFILE_SCHEMA as LOCKFILE
from voluptuous import Invalid

from medpipe import atomic, processes
from medpipe.studies.copies import remove_abandoned

DVC = (sys.executable, "-m", "dvc")
TEMPORARY = Path(".dvc/tmp")  # where DVC locks
KEPT = Path(".tmp/dvc.lock")  # as it was when it was last whole
DRIVER = Path(".tmp/driver.lock")  # of the one that is at the workspace, with its process id

_starting, _stopped = threading.RLock(), threading.Event()


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Be the only driver of this workspace: wait for another one, and say for which. Then heal what a kill left."""
    (root / DRIVER).parent.mkdir(exist_ok=True)
    lock = make_lock(root / DRIVER)
    try:
        lock.lock()
    except LockError:
        with suppress(ValueError, psutil.Error):
            holder = psutil.Process(int((root / DRIVER).read_text()))
            _say(f"waiting for process {holder.pid} ({' '.join(holder.cmdline())}), which is at this workspace")
        lock = make_lock(root / DRIVER, wait=True)
        lock.lock()
    try:
        remove_abandoned(root)
        settle(root)
        yield
    finally:
        lock.unlock()


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """DVC with these arguments, its output a pipe of lines, once nobody else's DVC holds a file of this workspace.

    It is out of reach of the terminal's Ctrl-C: what `interruptible` does ends it. Raises SystemExit when that began.
    """
    settle(root)
    with _starting:
        if _stopped.is_set():
            raise SystemExit(1)
        return subprocess.Popen(
            [*DVC, "--wait-for-lock", *arguments], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip


def reproduce(root: Path, *targets: str) -> None:
    """`dvc repro` of the targets, as the workspace's only driver. Raises CalledProcessError where it fails."""
    with alone(root):
        process = start(root, "repro", *targets)
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
        if code := process.wait():
            raise subprocess.CalledProcessError(code, process.args)


@contextmanager
def interruptible(resumes: str) -> Iterator[None]:
    """On SIGINT and SIGTERM end all that this process began, say in a line where it goes on, and exit as is usual:
    SystemExit with 130 or 143."""

    def stop(signum: int, frame: FrameType | None) -> None:
        if _stopped.is_set():
            return
        _say(f"{signal.Signals(signum).name}: ending what runs")
        with _starting:
            _stopped.set()
        root = Path.cwd()
        processes.end(lambda process: processes.descends(process) or processes.is_orphan(process, root))
        raise SystemExit(128 + signum)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield
    except SystemExit as ended:
        if ended.code in (128 + signal.SIGINT, 128 + signal.SIGTERM):  # by a run's own handler, too
            _say(resumes)
        raise


def settle(root: Path) -> None:
    """Heal what killed processes left in the workspace, and wait for the DVCs that others began and that hold a file
    of it; a line says for which."""
    for process in processes.end(lambda process: processes.is_orphan(process, root)):
        _say(f"ended process {process.pid}, a stage whose DVC was killed")
    (root / TEMPORARY).mkdir(exist_ok=True)
    announced = ""
    while holders := _heal_rwlock(root):
        if holders != announced:
            _say(f"waiting for {holders}")
            announced = holders
        time.sleep(0.5)
    _heal_lockfile(root)


def _heal_rwlock(root: Path) -> str:
    """Mend the file in which DVC's processes write down what they read and write.

    Returns whom to wait for, "" for none: those that others began and that hold something; where the file cannot be
    read, all that live.
    """
    path = root / TEMPORARY / "rwlock"
    with make_lock(root / TEMPORARY / "rwlock.lock", wait=True):  # DVC holds it while it edits the file
        try:
            held = RWLOCK(json.loads(path.read_text()))
        except FileNotFoundError:
            return ""
        except (ValueError, Invalid):  # cut, or bytes that are no text
            if living := [f"process {p.pid} ({' '.join(p.cmdline())})" for p in _living(root)]:
                return ", ".join(living)
            path.unlink()
            _say(f"healed {path.relative_to(root)}: a killed DVC left it cut; nothing that lives holds it")
            return ""
        left: dict[str, Any] = {
            "write": {file: info for file, info in held["write"].items() if processes.runs(info["pid"], info["cmd"])},
            "read": {
                file: living
                for file, infos in held["read"].items()
                if (living := [info for info in infos if processes.runs(info["pid"], info["cmd"])])
            },
        }
        if left != held:
            with atomic.file(path) as temporary:
                temporary.write_text(json.dumps(left))
            _say(f"healed {path.relative_to(root)}: processes that are no more held files")
    infos = [*left["write"].values(), *(info for infos in left["read"].values() for info in infos)]
    return ", ".join(sorted({f"process {i['pid']} ({i['cmd']})" for i in infos if not _own(i["pid"])}))


def _heal_lockfile(root: Path) -> None:
    """Put back the last whole dvc.lock where it is cut, else that which git has; else remove it."""
    path, kept = root / "dvc.lock", root / KEPT
    with make_lock(root / TEMPORARY / "lock", wait=True):  # DVC holds it while it writes dvc.lock
        if not path.exists():
            return
        content = path.read_bytes()
        if _is_whole(content):
            if not kept.exists() or kept.read_bytes() != content:
                with atomic.file(kept) as temporary:
                    temporary.write_bytes(content)
            return
        whole, source = b"", "without it DVC looks in its cache"
        if kept.exists():
            whole, source = kept.read_bytes(), "put back as it was before"
        else:
            with suppress(subprocess.CalledProcessError):
                whole = subprocess.run(
                    ["git", "show", "HEAD:./dvc.lock"], cwd=root, check=True, capture_output=True
                ).stdout
                source = "put back as it was committed"
        if _is_whole(whole):
            with atomic.file(path) as temporary:
                temporary.write_bytes(whole)
        else:
            path.unlink()
    _say(f"healed dvc.lock: a killed DVC left it cut; {source}, and stages that ended since then are looked at again")


def _is_whole(content: bytes) -> bool:
    """Whether it can be a dvc.lock: it ends with a line's end, and DVC accepts it."""
    try:
        return content.endswith(b"\n") and bool(LOCKFILE(yaml.load(content, yaml.CSafeLoader)))
    except (ValueError, yaml.YAMLError, Invalid):
        return False


def _living(root: Path) -> list[psutil.Process]:
    """The DVC processes at this workspace, but those of experiments in copies below it."""
    copies = (root / TEMPORARY, root / ".tmp")
    return [
        process
        for process in psutil.process_iter()
        if processes.is_dvc(process)
        and processes.runs_in(process, root)
        and not any(processes.runs_in(process, folder) for folder in copies)
    ]


def _own(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return processes.descends(psutil.Process(pid))
    return False


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
