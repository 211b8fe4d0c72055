"""DVC experiments in copies of the repository, with nothing done to the workspace.

`dvc exp run --queue` and `--temp` make their copies through the workspace: changes go to git's stash and HEAD is
detached for a moment, and what is killed then leaves it so. Here git copies what is committed, and the changes to
tracked files as `git stash create` writes them down without touching a file. In the copy DVC runs the experiment as it
would anywhere; its commit is then fetched.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from medpipe import processes
from medpipe.errors import InputError
from medpipe.provenance import CODE

FOLDER = Path(".tmp/experiments")  # copies, logs and locks
UNTRACKED = ("dvc.lock", ".dvc/config.local")  # files that git may not know


def git(root: Path, *command: str) -> str:
    """What git prints. Raises InputError with its complaint. A Ctrl-C that is meant for its caller does not end it."""
    found = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, start_new_session=True)
    if found.returncode:
        raise InputError(f"git {' '.join(command)}: {found.stderr.strip()}")
    return found.stdout.strip()


@dataclass(frozen=True)
class Snapshot:
    """The project at a moment: the commit that is checked out, one of the changes to tracked files, "" without, and the
    content of files that git may not know, by path. Later edits of the project reach no experiment.
    """

    root: Path
    head: str
    changes: str
    untracked: Mapping[str, bytes]

    @classmethod
    def of(cls, root: Path) -> "Snapshot":
        """Raises InputError where git does not know a file of the code, which the copies would lack."""
        if unknown := git(root, "ls-files", "--others", "--exclude-standard", "--", *CODE):
            files = ", ".join(unknown.splitlines())
            raise InputError(f"git does not know {files}; `git add` them, or the experiments run without them")
        untracked = {name: (root / name).read_bytes() for name in UNTRACKED if (root / name).exists()}
        return cls(root, git(root, "rev-parse", "HEAD"), git(root, "stash", "create"), untracked)

    def run(self, name: str, target: str, overrides: Iterable[str], stop: threading.Event | None = None) -> Path | None:
        """Run the experiment `name`, in place of an older one of that name from the same commit.

        `overrides`: what `--set-param` takes. Returns None where it ended well, else the log of what it printed.
        Setting `stop` ends it. Raises InputError where no copy can be made, or another process runs this experiment.
        """
        folder = self.root / FOLDER / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder.with_suffix(".lock"), timeout=0):
                _remove(folder)
                try:
                    return self._run(folder, name, target, overrides, stop or threading.Event())
                finally:
                    _remove(folder)
        except Timeout:
            raise InputError(f"{name}: another process runs this experiment; wait for it") from None

    def _run(
        self, folder: Path, name: str, target: str, overrides: Iterable[str], stop: threading.Event
    ) -> Path | None:
        log = folder.with_suffix(".log")
        project = self._copy(folder)
        settings = [argument for override in overrides for argument in ("--set-param", override)]
        with log.open("w", encoding="utf-8") as output:
            for command in (
                ("config", "--local", "cache.dir", _dvc_cache(self.root)),
                ("checkout", "--quiet", "--with-deps", "--force", "--allow-missing", target),
                ("exp", "run", "--name", name, *settings, target),
            ):
                process = subprocess.Popen(
                    [sys.executable, "-m", "dvc", *command], cwd=project, env=os.environ | _environment(self.root),
                    stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
                while process.poll() is None and not stop.is_set():
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=0.5)
                if process.poll() != 0:
                    return log
        reference = f"refs/exps/{self.head[:2]}/{self.head[2:]}/{name}"
        git(self.root, "fetch", "--quiet", "--no-tags", str(folder), f"+{reference}:{reference}")
        return None

    def _copy(self, folder: Path) -> Path:
        """A repository at `folder` that holds the snapshot and borrows objects; returns the project's place in it."""
        git(self.root, "init", "--quiet", str(folder))
        objects, shallow = (
            git(self.root, "rev-parse", "--path-format=absolute", "--git-path", path) for path in ("objects", "shallow")
        )
        (folder / ".git/objects/info/alternates").write_text(f"{objects}\n")
        if Path(shallow).exists():
            shutil.copy(shallow, folder / ".git/shallow")
        for key in ("user.name", "user.email"):
            with suppress(InputError):  # then DVC's own message says so
                git(folder, "config", key, git(self.root, "config", key))
        git(folder, "checkout", "--quiet", "--detach", self.head)
        if self.changes:
            git(folder, "stash", "apply", "--quiet", "--index", self.changes)
        project = folder / git(self.root, "rev-parse", "--show-prefix")
        for name, content in self.untracked.items():
            (project / name).write_bytes(content)
        return project


def remove_abandoned(root: Path) -> None:
    """End and remove the experiments whose starter was killed."""
    for folder in (root / FOLDER).glob("*/"):
        with suppress(Timeout), FileLock(folder.with_suffix(".lock"), timeout=0):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the copy, and whatever still runs in it."""
    processes.end(lambda process: processes.runs_in(process, folder))
    shutil.rmtree(folder, ignore_errors=True)


def _dvc_cache(root: Path) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"], cwd=root, capture_output=True, text=True, start_new_session=True
    )
    if found.returncode:
        raise InputError(f"dvc cache dir: {found.stderr.strip()}")
    return found.stdout.strip()


def _environment(root: Path) -> dict[str, str]:
    """Stages find `python` beside this one, and the store of the repository that they were copied from."""
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "MEDPIPE_ROOT": str(root)}
