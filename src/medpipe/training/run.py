"""A training as the pipeline runs it: its MLflow run, its checkpoint, and the folder that it delivers."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import keras
import pandas as pd
from filelock import FileLock, Timeout

from medpipe import atomic, provenance, store, tracking
from medpipe.data.arrays import Arrays
from medpipe.models.delivery import Delivery, OutOfFold

# A checkpoint that no training has gone on with for so long is taken for abandoned.
_KEPT = 30 * 86400  # seconds


@contextmanager
def tracked(
    name: str, task: str, settings: Mapping[str, Any], split: Path, arrays: Sequence[Arrays], code: str
) -> Iterator[tuple[tracking.Run, Path]]:
    """The run in MLflow and the file of the checkpoint, the same ones where this training was killed before.

    Checkpoints lie in the repository itself, not in the copy that DVC may run an experiment in. That of a training that
    ended well is removed. One that other `code`, by its fingerprint, or other libraries began is passed over, and of
    two workers that want the same training one waits for the other. A training that ended well also removes what
    others left and did not go on with for thirty days, and ends their runs as killed.
    """
    tags = read_from(split, arrays)
    by = [code, provenance.versions()]
    key = hashlib.sha256(json.dumps([name, settings, tags, *by], sort_keys=True).encode()).hexdigest()
    folder = store.root() / ".tmp" / "checkpoints" / f"{name}-{key[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        folder.mkdir(exist_ok=True)
        with tracking.begin(task, name, settings, tags, folder) as run:
            yield run, folder / "state.npz"
        shutil.rmtree(folder)
    _remove_abandoned(folder.parent)


def _remove_abandoned(checkpoints: Path) -> None:
    for folder in checkpoints.iterdir():
        # Each epoch's checkpoint takes the place of the last one in the folder, which changes the folder's time.
        if folder.is_dir() and time.time() - (ended := folder.stat().st_mtime) > _KEPT:
            with suppress(Timeout), FileLock(folder.with_suffix(".lock"), timeout=0):
                tracking.abandon(folder, ended)
                shutil.rmtree(folder, ignore_errors=True)


def read_from(split: Path, arrays: Sequence[Arrays]) -> dict[str, str]:
    """Hashes of the split and of the prepared data, as tags of a run."""
    rows = hashlib.sha256((split / "rows.parquet").read_bytes()).hexdigest()
    return {"split": rows[:16]} | {f"data.{part.name}": part.digest[:16] for part in arrays}


def deliver(
    run: tracking.Run,
    delivery: Delivery,
    model: keras.Model,
    history: pd.DataFrame,
    out_of_fold: OutOfFold | None = None,
) -> None:
    """Write models/<name>/ whole: model.keras, recipe.json, run.json; history.csv where there are epochs."""
    with atomic.folder(Path("models") / delivery.name) as folder:
        delivery.write(folder, model)
        if len(history):
            history.to_csv(folder / "history.csv", index=False)
        if out_of_fold is not None:
            out_of_fold.write(folder)
        run.write(folder)
