"""Bring a study's experiments to their end: queue what is missing, run it, and go on after any interruption."""

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from medpipe import atomic
from medpipe.errors import InputError
from medpipe.provenance import CODE
from medpipe.studies.plan import Experiment
from medpipe.studies.queue import Ended, Queue
from medpipe.studies.results import Workspace, git, references

POLL, PATIENCE = 2.0, 20.0  # seconds: between looks at the queue; that a new worker may take to show


@dataclass(frozen=True)
class Outcome:
    """The commit of a finished experiment, or why there is none."""

    commit: str | None
    state: str


def run(root: Path, experiments: Sequence[Experiment], jobs: int) -> dict[str, Outcome]:
    """The outcome of each experiment, by name, after those that were missing have run, `jobs` at a time.

    SIGINT and SIGTERM end what runs. Raises InputError where another study runs, or where code is not in git, for the
    copies that experiments run in would lack it.
    """
    folder = root / ".tmp" / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0), _interruptible() as interrupted:
            restore_workspace(root, folder / "queueing.json")
            _check_tracked(root)
            return _run(root, experiments, jobs, folder / "queueing.json", interrupted)
    except Timeout:
        raise InputError(f"{root}: another study is running here; wait for it, they share DVC's queue") from None


def _run(
    root: Path, experiments: Sequence[Experiment], jobs: int, journal: Path, interrupted: threading.Event
) -> dict[str, Outcome]:
    workspace = Workspace(root)
    missing = {e.name: e for e in experiments if workspace.find(e) is None}
    print(f"{len(experiments) - len(missing)} of {len(experiments)} experiments are done already", flush=True)
    queue = Queue(root)
    queue.clear([e.name for e in experiments])  # what an earlier start left
    with _queueing(root, journal):
        for experiment in missing.values():
            if interrupted.is_set():
                break
            _make_room(root, experiment)
            queue.put(experiment)
            print(f"queued {experiment.name}", flush=True)
    if not interrupted.is_set():
        _wait(queue, set(missing), jobs, interrupted)
    ended = {} if interrupted.is_set() else queue.ended(missing)
    if interrupted.is_set():
        queue.clear(missing)
    workspace = Workspace(root)  # what it found before may have changed
    return {e.name: _outcome(workspace.find(e), ended.get(e.name), interrupted.is_set()) for e in experiments}


def _wait(queue: Queue, names: set[str], jobs: int, interrupted: threading.Event) -> None:
    """Until each experiment has ended, well or not. One whose worker was killed counts as failed."""
    pending, started = set(names), -PATIENCE
    while pending and not interrupted.is_set():
        waiting, running = queue.waiting(pending), queue.running(pending)
        for name in sorted(pending - waiting - running):
            print(f"ended {name}; {len(pending) - 1} to go", flush=True)
            pending.discard(name)
        if pending and not queue.workers() and time.monotonic() - started > PATIENCE:
            queue.stop(queue.running(pending))
            if queue.waiting(pending):
                queue.start(jobs)
                started = time.monotonic()
        interrupted.wait(POLL)


def _outcome(commit: str | None, ended: Ended | None, interrupted: bool) -> Outcome:
    if commit is not None:
        return Outcome(commit, "done")
    if interrupted:
        return Outcome(None, "interrupted")
    if ended is None:
        return Outcome(None, "taken out of DVC's queue")
    if ended.well:
        return Outcome(None, "outdated: code, data or settings were changed while it ran")
    return Outcome(None, f"failed, see {ended.log}" if ended.log else "failed before it began, see `dvc queue logs`")


def _make_room(root: Path, experiment: Experiment) -> None:
    """Remove an outdated experiment of that name that began from the same commit: DVC has room for one."""
    head = git(root, "rev-parse", "HEAD")
    for reference, _ in references(root).get(experiment.name, []):
        if reference == f"refs/exps/{head[:2]}/{head[2:]}/{experiment.name}":
            git(root, "update-ref", "-d", reference)


def _check_tracked(root: Path) -> None:
    if unknown := git(root, "ls-files", "--others", "--exclude-standard", "--", *CODE):
        files = ", ".join(unknown.splitlines())
        raise InputError(f"git does not know {files}; `git add` them, or the experiments run without them")


# ---------------------------------------------------------------------------------------------- the workspace
@contextmanager
def _queueing(root: Path, journal: Path) -> Iterator[None]:
    """While DVC queues, the user's changes are in git's stash, HEAD is detached, and params.yaml is another. A journal
    says how things stood, for the next start to put them back in case that this is killed.
    """
    with atomic.file(journal) as file:
        file.write_text(json.dumps({"branch": _branch(root), "stash": _stash(root), "clean": _is_clean(root)}))
    try:
        yield
    finally:
        restore_workspace(root, journal)


def restore_workspace(root: Path, journal: Path) -> None:
    """Put back what a killed queueing has left changed, if there is its journal."""
    if not journal.exists():
        return
    before = json.loads(journal.read_text())
    stashed, moved = _stash(root) != before["stash"], _branch(root) != before["branch"]
    if stashed or moved or (not before["branch"] and before["clean"]):
        git(root, "reset", "--quiet", "--hard")
    if moved:
        git(root, "symbolic-ref", "HEAD", before["branch"])
    if stashed:
        git(root, "stash", "pop", "--quiet", "--index")
    journal.unlink()


def _branch(root: Path) -> str:
    """The full name of the branch, "" where HEAD is detached."""
    name = git(root, "rev-parse", "--symbolic-full-name", "HEAD")
    return "" if name == "HEAD" else name


def _stash(root: Path) -> str:
    return git(root, "for-each-ref", "--format=%(objectname)", "refs/stash")


def _is_clean(root: Path) -> bool:
    return not git(root, "status", "--porcelain", "--untracked-files=no")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event in place of what SIGINT and SIGTERM do."""
    event = threading.Event()

    def note(signum: int, frame: FrameType | None) -> None:
        event.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
