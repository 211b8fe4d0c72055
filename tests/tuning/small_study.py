"""A study without a training: what a trial comes to follows from its settings alone. Run as a program it kills itself.

`small_study.py EPOCHS` is killed by SIGKILL at the end of so many epochs, counted through all trials.
"""

import os
import signal
import sys
from math import log10
from pathlib import Path

from medpipe.params import Tuning, read
from medpipe.tuning.process import TrialError
from medpipe.tuning.study import opened

VALUES = read(Path(__file__).parents[2])
NAME, EPOCHS = "skin-tabular", 4


def tuning(**changes):
    settings = {
        "trials": 8,
        "metric": "val_loss",
        "sampler": {"startup": 3},
        "pruner": {"startup": 3, "warmup": 1},
        "space": {
            "lr": {"low": 1e-4, "high": 1.0, "log": True},
            "network.units": {"choices": [[8], [8, 8], [8, 8, 8]]},
            "batch": {"low": 16, "high": 64, "step": 16},
        },
    }
    return Tuning.model_validate(settings | changes)


class Formula:
    """In a trainer's place. The best rate is 0.01; the rates of `bad` fail; the Nth epoch of all is `at_epoch`'s."""

    def __init__(self, bad=lambda lr: False, at_epoch=lambda number: None):
        self.bad, self.at_epoch, self.epochs = bad, at_epoch, 0
        self.facts = {"tags": {"split": "5f3a"}, "code": "c", "backend": "none"}

    def train(self, changes, checkpoint, on_epoch):
        for epoch in range(1, EPOCHS + 1):
            self.epochs += 1
            self.at_epoch(self.epochs)
            if self.bad(changes["lr"]):
                raise TrialError("ResourceExhaustedError: no memory")
            numbers = {"val_loss": abs(log10(changes["lr"]) + 2) + len(changes["network.units"]) + 1 / epoch}
            if not on_epoch(epoch, numbers):
                return None
        return numbers | {"epoch": float(EPOCHS)}


def run(settings=None, trainer=None, values=VALUES):
    """The search after it has gone on to its end."""
    trainer = trainer or Formula()
    with opened(NAME, settings or tuning(), values, 42, trainer.facts) as search:
        search.go_on(trainer)
    return search


def kill(number):
    if number == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run(trainer=Formula(at_epoch=kill))
