"""DVC's queue of experiments: put into it, run it, and clear away what was killed.

DVC's workers are daemons. A task whose worker was killed shows as running for ever, the training may go on without it,
and its copy of the repository stays; all that is cleared here. Of the queue, entries of other names are left alone.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

import psutil

from medpipe.errors import InputError
from medpipe.studies.plan import Experiment

if TYPE_CHECKING:
    from dvc.repo.experiments.queue.base import QueueDoneResult, QueueEntry
    from dvc.repo.experiments.queue.celery import LocalCeleryQueue


class Ended(NamedTuple):
    well: bool
    log: Path | None  # what it printed, under the root; None where it never began


class Queue:
    def __init__(self, root: Path) -> None:
        from dvc.repo import Repo

        self.root = root
        self.repo = Repo(str(root))

    @property
    def _dvc(self) -> "LocalCeleryQueue":
        return self.repo.experiments.celery_queue

    def put(self, experiment: Experiment) -> None:
        """Queue it, as the workspace now is. DVC changes the workspace for that moment, so no signal may end it."""
        settings = [argument for override in experiment.overrides for argument in ("--set-param", override)]
        target = f"evaluate@{experiment.model}"
        self._run("--wait-for-lock", "exp", "run", "--queue", "--name", experiment.name, *settings, target)

    def start(self, jobs: int) -> None:
        """Let `jobs` workers take tasks from the queue until it is empty."""
        self._run("queue", "start", "--jobs", str(jobs))

    def _run(self, *command: str) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # workers look for `dvc` there
        with TemporaryFile("w+") as output:  # a pipe would stay open as long as the workers live
            found = subprocess.run(
                [sys.executable, "-m", "dvc", *command], cwd=self.root, env=os.environ | {"PATH": path},
                stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            output.seek(0)
            if found.returncode:
                raise InputError(f"dvc {' '.join(command)}: {output.read().strip()}")

    # -------------------------------------------------------------------------------------------- what is there
    def waiting(self, names: Collection[str]) -> set[str]:
        return {entry.name for entry in self._dvc.iter_queued() if entry.name in names}

    def running(self, names: Collection[str]) -> set[str]:
        """Those that a worker has taken and not given back, be it alive or not."""
        return {entry.name for entry in self._active(names)}

    def ended(self, names: Collection[str]) -> dict[str, Ended]:
        """How those ended that were run."""
        found = {}
        for entry, result in self._done(names):
            process = self._dvc.proc.get(entry.stash_rev)
            log = Path(process.stdout).relative_to(self.root) if process else None
            found[entry.name] = Ended(bool(result and result.ref_info), log)
        return found

    def workers(self) -> int:
        """How many live."""
        files = Path(self._dvc.wdir).glob("dvc-exp-worker-*.pid")
        return sum(bool(_process(int(file.read_text() or 0), "queue-worker")) for file in files)

    def _active(self, names: Collection[str]) -> "list[QueueEntry]":
        return [entry for entry in self._dvc.iter_active() if entry.name in names]

    def _done(self, names: Collection[str]) -> "list[QueueDoneResult]":
        return [done for done in self._dvc.iter_done() if done.entry.name in names]

    # -------------------------------------------------------------------------------------------- clear away
    def clear(self, names: Collection[str]) -> None:
        """Take the experiments of these names out of the queue, running ones too."""
        self._remove([entry for entry in self._dvc.iter_queued() if entry.name in names])
        self.stop(names)
        self._remove([done.entry for done in self._done(names)])

    def stop(self, names: Collection[str]) -> None:
        """End those that run. They then count as failed."""
        from dvc.repo.experiments.exceptions import UnresolvedRunningExpNamesError
        from dvc.repo.experiments.queue.exceptions import CannotKillTasksError

        stopped: dict[str, QueueEntry] = {}
        while active := self._active(names):
            for entry in active:
                stopped[entry.stash_rev] = entry
                self._end_processes(entry)
            try:  # marks as failed what no worker has in hand
                self._dvc.kill([entry.stash_rev for entry in active], force=True)
            except (CannotKillTasksError, UnresolvedRunningExpNamesError):
                time.sleep(0.5)  # its worker is about to see the end
        for copy in filter(None, map(self._copy, stopped.values())):
            shutil.rmtree(copy, ignore_errors=True)

    def _end_processes(self, entry: "QueueEntry") -> None:
        """Kill DVC's process of the task, and its stages, also where they outlived it."""
        info = self._dvc.proc.get(entry.stash_rev)
        main = info and _process(info.pid, entry.stash_rev)
        for process in [*([main] if main else []), *_stages_of(str(self.root), entry.name)]:
            _kill_tree(process)
        if info and info.returncode is None and not main:  # it may be a zombie, which is no end to DVC
            info.returncode = -9
            self._dvc.proc[entry.stash_rev] = info

    def _copy(self, entry: "QueueEntry") -> str | None:
        """The copy of the repository in which the task ran."""
        from dvc.repo.experiments.executor.base import ExecutorInfo

        try:
            return ExecutorInfo.load_json(self._dvc.get_infofile_path(entry.stash_rev)).root_dir
        except FileNotFoundError:
            return None

    def _remove(self, entries: "list[QueueEntry]") -> None:
        if entries:
            self._dvc.remove([entry.stash_rev for entry in entries])


def _process(pid: int, word: str) -> psutil.Process | None:
    """The process, if it lives and its command line holds `word`: pids are used again."""
    try:
        process = psutil.Process(pid)
        return process if word in " ".join(process.cmdline()) else None
    except psutil.Error:
        return None


def _stages_of(root: str, name: str | None) -> Iterator[psutil.Process]:
    """The processes that DVC began for the experiment of that name in the repository at `root`."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        if environment.get("DVC_EXP_NAME") == name and environment.get("DVC_ROOT") == root:
            yield process


def _kill_tree(process: psutil.Process) -> None:
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
