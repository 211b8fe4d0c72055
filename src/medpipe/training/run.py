"""A training as the pipeline runs it: its MLflow run, its checkpoint, and the folder that it delivers."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from filelock import FileLock, Timeout

from medpipe import atomic, provenance, store, tracking

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from medpipe.data.arrays import Arrays
    from medpipe.models.delivery import Delivery, OutOfFold

# A checkpoint that no training has gone on with for so long is taken for abandoned.
_KEPT = 30 * 86400  # seconds


@contextmanager
def tracked(
    output: Path, task: str, settings: Mapping[str, Any], tags: Mapping[str, str], code: str
) -> Iterator[tuple[tracking.Run, Path] | None]:
    """The run in MLflow and the file of the checkpoint of the training that writes the folder `output`: the same ones
    where this training was killed before. `tags` (`read_from`) say what it reads.

    Checkpoints lie in the repository itself, not in the copy that DVC may run an experiment in. That of a training that
    ended well is removed. One that other `code`, by its fingerprint, or other libraries began is passed over. A
    training that ended well also removes what others left and did not go on with for thirty days, and ends their runs
    as killed.

    Of two workers that want the same training one waits for the other. None where this process was there already when
    the other one delivered: `output` then holds that model and names its run, and there is nothing to train. What was
    delivered before this process began is not taken: DVC knows it, and runs the stage again only where it is told to.
    """
    name, by = output.name, [code, provenance.versions()]
    key = hashlib.sha256(json.dumps([name, settings, tags, *by], sort_keys=True).encode()).hexdigest()
    folder = store.root() / ".tmp" / "checkpoints" / f"{name}-{key[:16]}"
    own = folder.with_suffix(f".{os.getpid()}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if own.exists() and own.stat().st_mtime > psutil.Process().create_time():
            print(f"{name}: another worker has trained it meanwhile; its model is taken", flush=True)
            _share(own, output)
            yield None
        else:
            folder.mkdir(exist_ok=True)
            with tracking.begin(task, name, settings, tags, folder) as run:
                yield run, folder / "state.npz"
            for rival in _rivals():
                _share(output, folder.with_suffix(f".{rival}"))
            shutil.rmtree(folder)
    _remove_abandoned(folder.parent)


def _rivals() -> list[int]:
    """Other processes that run this one's command, that is, the same stage for other experiments. Each may want this
    very training, whether it waits for the lock, for a GPU, or only starts.
    """
    own = psutil.Process()
    command = own.cmdline()[1:]  # without the interpreter's place
    others = psutil.process_iter(["cmdline"])
    return [other.pid for other in others if other != own and (other.info["cmdline"] or [])[1:] == command]


def _share(source: Path, target: Path) -> None:
    """Make the folder `target` of `source`, of hard links, which take no room on the disk."""
    with atomic.folder(target) as folder:
        shutil.copytree(source, folder, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system, or one without links
        shutil.copy2(source, target)


def _remove_abandoned(checkpoints: Path) -> None:
    """Checkpoints that no training goes on with, and what was delivered for processes that do not want it or ended."""
    for folder in filter(Path.is_dir, checkpoints.iterdir()):
        try:
            pid, ended = folder.suffix[1:], folder.stat().st_mtime
        except FileNotFoundError:  # another worker was first
            continue
        if pid.isdigit():
            over = int(pid) == os.getpid() or not psutil.pid_exists(int(pid))
        else:
            # Each epoch's checkpoint takes the place of the last one in the folder, which changes the folder's time.
            over = time.time() - ended > _KEPT
        if over:
            with suppress(Timeout), FileLock(folder.with_suffix(".lock"), timeout=0):
                tracking.abandon(folder, ended)
                shutil.rmtree(folder, ignore_errors=True)


def read_from(split: Path, arrays: "Sequence[Arrays]") -> dict[str, str]:
    """Hashes of the split and of the prepared data, as tags of a run."""
    rows = hashlib.sha256((split / "rows.parquet").read_bytes()).hexdigest()
    return {"split": rows[:16]} | {f"data.{part.name}": part.digest[:16] for part in arrays}


def deliver(
    run: tracking.Run,
    delivery: "Delivery",
    model: "keras.Model",
    history: "pd.DataFrame",
    out_of_fold: "OutOfFold | None" = None,
) -> None:
    """Write models/<name>/ whole: model.keras, recipe.json, run.json; history.csv where there are epochs."""
    with atomic.folder(Path("models") / delivery.name) as folder:
        delivery.write(folder, model)
        if len(history):
            history.to_csv(folder / "history.csv", index=False)
        if out_of_fold is not None:
            out_of_fold.write(folder)
        run.write(folder)
