"""The process that trains a study's trials, one after another, as stages/train.py would each: see process.py."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import keras

from medpipe import backend, provenance, recipe
from medpipe.errors import settings_of
from medpipe.fingerprint import fingerprint
from medpipe.overrides import change
from medpipe.params import checked
from medpipe.training.assemble import Training, assemble
from medpipe.training.fit import fit
from medpipe.training.run import read_from
from medpipe.tuning.space import kept

MOST = 1000  # characters of an error: MLflow's tags and Optuna's attributes have room for few thousand


class _PrunedError(Exception):
    """The study wants no further epoch of this trial."""


def work(link: Connection) -> None:
    """Answers each trial with an outcome and what belongs to it; before that with each epoch, and asks to go on."""
    values, name = link.recv()
    try:
        training = _assemble(values, name, {})
        tags = read_from(Path("data/split") / training.settings.task, [training.arrays])
        source = training.described(0, values["deterministic"]).get("weights")
        code = fingerprint(Path(__file__), training.settings.architecture)
        link.send(
            ("ready", {"tags": tags, "code": code, "backend": provenance.versions()["backend"], "weights": source})
        )
        del training
    except Exception as error:
        link.send(("failed", _say(error)))
        return
    while True:
        changes, checkpoint = link.recv()
        try:
            answer: tuple[str, Any] = ("done", _train(values, name, changes, checkpoint, link))
        except _PrunedError:
            answer = ("pruned", None)
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)  # of gpus.hold, if a GPU is held
            answer = ("failed", _say(error))
        link.send(answer)


def _assemble(values: Mapping[str, Any], name: str, changes: Mapping[str, Any]) -> Training:
    """As in a process of its own: nothing that an earlier trial left is there."""
    keras.utils.clear_session()
    gc.collect()
    params = checked(change(values, name, changes))
    settings, seed = recipe.resolve(params, name), params.seed
    backend.start(seed, settings.precision, params.deterministic, tf32=True)  # as stages/train.py
    split = Path("data/split") / settings.task
    with settings_of(f"models.{name}"):
        names = params.tasks[settings.task].classes
        return assemble(settings, names, split, Path("data/prepared"), seed, recipe.training_rows(params))


def _train(
    values: Mapping[str, Any], name: str, changes: Mapping[str, Any], checkpoint: Path, link: Connection
) -> dict[str, float]:
    """The numbers of the epoch whose weights are kept."""

    def on_epoch(epoch: int, numbers: dict[str, float]) -> None:
        link.send(("epoch", (epoch, numbers)))
        if not link.recv():
            raise _PrunedError

    training = _assemble(values, name, changes)
    train, val = training.learnt, training.samples(training.val)
    seed = checked(values).seed
    history = fit(
        training.build(), train, val, training.settings,
        seed=seed, checkpoint=checkpoint, on_epoch=on_epoch, classes=training.classes,
    )  # fmt: skip
    return kept(history, training.settings.early_stopping)


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MOST]


def _end_with_parent() -> None:
    """Our standard input is a pipe that the study's process holds open: it ends when that does, even by SIGKILL."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the study, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        work(Connection(int(sys.argv[1])))
