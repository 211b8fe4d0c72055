"""Bring a study's experiments to their end: run what is missing, and go on after any interruption."""

import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from medpipe.errors import InputError
from medpipe.studies.copies import Snapshot, remove_abandoned
from medpipe.studies.plan import Experiment
from medpipe.studies.results import Workspace


@dataclass(frozen=True)
class Outcome:
    """The commit of a finished experiment, or why there is none."""

    commit: str | None
    state: str


def run(root: Path, experiments: Sequence[Experiment], jobs: int, stop: threading.Event) -> dict[str, Outcome]:
    """The outcome of each experiment, by name, after those that were missing have run, `jobs` at a time.

    All are run from what the workspace held in the beginning, and are held against that: it may be edited meanwhile.
    Setting `stop` ends what runs. Raises InputError as `Snapshot.of`.
    """
    remove_abandoned(root)
    workspace, snapshot = Workspace(root), Snapshot.of(root)
    missing = [e for e in experiments if workspace.find(e) is None]
    print(f"{len(experiments) - len(missing)} of {len(experiments)} experiments are done already", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        ended = dict(zip((e.name for e in missing), pool.map(lambda e: _run(snapshot, e, stop), missing), strict=True))
    found = {e.name: workspace.find(e) for e in experiments}
    return {name: Outcome(commit, "done" if commit else ended[name]) for name, commit in found.items()}


def _run(snapshot: Snapshot, experiment: Experiment, stop: threading.Event) -> str:
    """Run it unless `stop` is set; returns why there may be no result of it."""
    if stop.is_set():
        return "interrupted"
    print(f"running {experiment.name}", flush=True)
    try:
        log = snapshot.run(experiment.name, f"evaluate@{experiment.model}", experiment.overrides, stop)
    except InputError as error:
        return f"failed: {error}"
    if stop.is_set():
        return "interrupted"
    if log:
        print(f"failed {experiment.name}", flush=True)
        return f"failed, see {log.relative_to(snapshot.root)}"
    print(f"ended {experiment.name}", flush=True)
    return "outdated: code, settings or data were changed as it began, or its archive while it ran"


@contextmanager
def deferred() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; what they did before, they do at the end."""
    event, signals = threading.Event(), list[int]()

    def note(signum: int, frame: FrameType | None) -> None:
        signals.append(signum)
        event.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if signals:
            signal.raise_signal(signals[0])
