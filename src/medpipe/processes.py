"""Processes of a workspace: which are DVC's, which its stages, and how they are ended."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

GRACE = 30.0  # seconds that a training has to end after SIGTERM


def end(belongs: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """End every process that belongs, and those that come to belong meanwhile; returns them.

    DVC gets SIGINT, on which it lets go of its locks, but waits for a stage that it runs; all others get SIGTERM. What
    is there after GRACE seconds is killed.
    """
    signalled: list[psutil.Process] = []
    deadline = time.monotonic() + GRACE
    while processes := [process for process in psutil.process_iter() if belongs(process) and lives(process)]:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                if time.monotonic() > deadline:
                    process.kill()
                elif process not in signalled:
                    process.send_signal(signal.SIGINT if is_dvc(process) else signal.SIGTERM)
                    signalled.append(process)
        time.sleep(0.05)
    return signalled


def descends(process: psutil.Process) -> bool:
    """Whether this process began it, or one that this process began did."""
    with suppress(psutil.Error):
        return any(parent.pid == os.getpid() for parent in process.parents())
    return False


def is_dvc(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return _arguments(process) is not None
    return False


def lives(process: psutil.Process) -> bool:
    """Whether it runs: what has ended, and waits to be looked at by the process that began it, does not."""
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def runs_in(process: psutil.Process, folder: Path) -> bool:
    """Whether its current directory is the folder or below it."""
    with suppress(psutil.Error, OSError):
        return Path(process.cwd()).is_relative_to(folder)
    return False


def runs(pid: int, command: str) -> bool:
    """Whether the process of that id is the DVC of that command, as DVC writes it down, and not one that took its id.

    A process that this user must not look at counts as it.
    """
    try:
        process = psutil.Process(pid)
        arguments = _arguments(process) if lives(process) else None
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
    return arguments is not None and command.endswith(arguments)


def is_orphan(process: psutil.Process, root: Path) -> bool:
    """Whether it is a stage of DVC's, or a worker of one, in the workspace `root`, and its DVC is no more."""
    with suppress(psutil.Error, OSError):
        if Path(process.cwd()) == root and process.environ().get("DVC_STAGE"):
            return not any(is_dvc(parent) for parent in process.parents())
    return False


def _arguments(process: psutil.Process) -> str | None:
    """What follows `dvc`, `python -m dvc` or `python .../dvc` in its command line; None for any other process."""
    line = process.cmdline()
    for place, part in enumerate(line[:3]):
        if Path(part).name == "dvc":
            return " ".join(line[place + 1 :])
    return None
