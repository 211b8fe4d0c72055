"""A study's hold on the process that trains its trials.

Trials train in a process of their own, so that one that the system kills for want of memory takes no study with it, and
the study's needs no backend. It is one for all of them, since importing one takes seconds. Started as a command, as
training/workers.py says why.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medpipe.errors import InputError


class TrialError(Exception):
    """A trial has failed, and the next one may be trained."""


class Trainer:
    """Trains `models.<name>` of `values`, what `params.read` gives, with one trial's changes after another.

    `facts`: `tags` (hashes of split and data), `code` (of the modules that train), `backend`, `weights`. Raises
    InputError where even the recipe as it stands cannot be trained on the data.
    """

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._job = (values, name)
        self._process: subprocess.Popen | None = None
        self.facts = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def train(
        self, changes: Mapping[str, Any], checkpoint: Path, on_epoch: Callable[[int, dict[str, float]], bool]
    ) -> dict[str, float] | None:
        """The numbers of the epoch whose weights are kept; None where `on_epoch` returned False, to train no further.

        Raises TrialError with the reason, and InputError where another trial ended the process and what it reads was
        changed meanwhile.
        """
        if self._process is None and self._start() != self.facts:
            self.stop()
            raise InputError("code or data were changed while the search ran; start it again, as another search")
        try:
            self._link.send((dict(changes), checkpoint))
            while (answer := self._link.recv())[0] == "epoch":
                self._link.send(on_epoch(*answer[1]))
        except (EOFError, ConnectionError):
            raise TrialError(self._end()) from None
        outcome, found = answer
        if outcome == "failed":
            raise TrialError(found)
        return found

    def _start(self) -> dict[str, Any]:
        self._link, theirs = Pipe()
        command = [sys.executable, "-m", "medpipe.tuning.worker", str(theirs.fileno())]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        try:
            self._link.send(self._job)
            outcome, found = self._link.recv()
        except (EOFError, ConnectionError):
            raise RuntimeError(self._end()) from None
        if outcome == "failed":
            self.stop()
            raise InputError(found)
        return found

    def _end(self) -> str:
        """How the process, which has ended, did."""
        assert self._process is not None
        code = self._process.wait()
        self.stop()
        if code == -signal.SIGKILL:
            return "its process was ended by SIGKILL, which the system sends where memory runs out"
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        return f"its process ended by {how}; its own message is above"

    def stop(self) -> None:
        """End the process, and with it its hold on memory; another trial would start it again."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._link.close()
        self._process = None
