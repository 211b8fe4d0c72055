"""The state of a training at the end of an epoch, in one file, from which it goes on as if it had not stopped."""

import hashlib
import json
import math
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from medpipe import atomic
from medpipe.training.batches import Samples
from medpipe.training.plan import Plan

Values = dict[int, npt.NDArray]  # by place among a model's or an optimizer's variables


@dataclass
class State:
    """Where a training stands.

    - phase, epoch: the phase under way, and how many of its epochs are done; `over`: it stopped early
    - best: the lowest `selection.cost` yet; best_model: the model's variables then
    - goal, waited: the cost that early stopping compares with, and epochs since it last fell far enough
    - history: a row an epoch
    - model, optimizer: their variables, with the states of random generators and of loss scaling

    Of the model only what may have changed: what was frozen all along is as it was built.
    """

    phase: int = 0
    epoch: int = 0
    over: bool = False
    best: float = math.inf
    goal: float = math.inf
    waited: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    model: Values = field(default_factory=dict)
    optimizer: Values = field(default_factory=dict)
    best_model: Values = field(default_factory=dict)


_ARRAYS = ("model", "optimizer", "best_model")


def save(path: Path, state: State, fingerprint: str) -> None:
    """Replaces the file `path` at once: whenever the process is killed, there is a whole one or none."""
    arrays = {f"{name}/{i}": value for name in _ARRAYS for i, value in getattr(state, name).items()}
    rest = {name: value for name, value in vars(state).items() if name not in _ARRAYS}
    with atomic.file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, head=np.array(json.dumps({"fingerprint": fingerprint, "state": rest})), **arrays)


def load(path: Path, fingerprint: str) -> State | None:
    """The state saved under this fingerprint; None where there is no file or it is another training's.

    A file that cannot be read whole, as a power cut may leave one, is passed over with a warning.
    """
    try:
        with path.open("rb") as whole, np.load(whole) as file:
            head = json.loads(str(file["head"]))
            if head["fingerprint"] != fingerprint:
                return None
            state = State(**head["state"])
            for key in file.files:
                if key != "head":
                    name, _, place = key.partition("/")
                    getattr(state, name)[int(place)] = file[key]
            return state
    except FileNotFoundError:
        return None
    except Exception as error:  # zipfile's, zlib's, struct's, NumPy's and json's own
        told = f"{type(error).__name__}: {error}"
        print(f"WARNING: {path}: not a whole checkpoint ({told}); training starts over", file=sys.stderr, flush=True)
        return None


def fingerprint(model: keras.Model, plan: Plan, seed: int, sets: tuple[Samples, ...]) -> str:
    """What a training's result follows from: initial weights, plan, seed, and a sample of what it reads."""
    digest = hashlib.blake2b(digest_size=16)
    surroundings = [keras.version(), keras.backend.backend(), keras.config.dtype_policy().name, seed]
    digest.update(json.dumps([surroundings, asdict(plan)], default=_plain).encode())
    for value in model.get_weights():
        _add(digest, value)
    for samples in sets:
        # Reading all images would take as long as an epoch; what changes them at all changes most of them.
        some = samples.rows[:: max(1, len(samples.rows) // 32)]
        _add(digest, samples.rows)
        _add(digest, samples.inputs[some])
        _add(digest, samples.targets[samples.rows if samples.targets.ndim == 2 else some])
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    raise TypeError(type(value))


def _add(digest: Any, array: npt.NDArray) -> None:
    digest.update(f"{array.shape}{array.dtype}".encode())
    digest.update(np.ascontiguousarray(array).data)
