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
from medpipe.models.delivery import MEMBERS, files

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from medpipe.data.arrays import Arrays
    from medpipe.models.delivery import Delivery, OutOfFold

# A checkpoint that no training has gone on with for so long is taken for abandoned.
_KEPT = 30 * 86400  # seconds
_DELIVERED = 86400  # seconds that what was delivered is kept for those who want the same training


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

    Of two workers that want the same training one waits for the other. What a training delivers is kept beside its
    checkpoint for a day, as hard links. It is taken, and None is yielded as there is nothing to train, where it was
    delivered after this process began, or where a kill came before DVC had put it into its cache. What DVC has is not
    taken: it runs the stage again only where it is told to.
    """
    name, by = output.name, [code, provenance.versions()]
    key = hashlib.sha256(json.dumps([name, settings, tags, *by], sort_keys=True).encode()).hexdigest()
    folder = store.root() / ".tmp" / "checkpoints" / f"{name}-{key[:16]}"
    delivered = folder.with_suffix(".delivered")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if delivered.exists() and (_is_later(delivered) or not _is_cached(delivered)):
            print(f"{name}: taken from a training that just ended elsewhere, or whose DVC was killed", flush=True)
            _share(delivered, output)
            yield None
        else:
            folder.mkdir(exist_ok=True)
            with tracking.begin(task, name, settings, tags, folder) as run:
                yield run, folder / "state.npz"
            _share(output, delivered)
        shutil.rmtree(folder, ignore_errors=True)
    _remove_abandoned(folder.parent)


def _is_later(delivered: Path) -> bool:
    """Whether it was delivered after this process began."""
    return delivered.stat().st_mtime > psutil.Process().create_time()


def _is_cached(folder: Path) -> bool:
    """Whether DVC's cache has the folder whole: its files, and then the list of them, which DVC writes last. A kill
    between the two leaves files there, and DVC runs the stage again.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        tree.add(path.relative_to(folder).parts, None, HashInfo("md5", digest))
    tree.digest()
    return (store.dvc_cache() / "files/md5" / tree.oid[:2] / tree.oid[2:]).exists()


def _share(source: Path, target: Path) -> None:
    """Make the folder `target` of `source`, of hard links, which take no room on the disk."""
    with atomic.folder(target) as folder:
        shutil.copytree(source, folder, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)  # a link of DVC's may be symbolic
    except OSError:  # on another file system, or one without links
        shutil.copy2(source, target)


def _remove_abandoned(checkpoints: Path) -> None:
    for folder in filter(Path.is_dir, checkpoints.iterdir()):
        # Each epoch's checkpoint takes the place of the last one in the folder, which changes the folder's time.
        with suppress(FileNotFoundError, Timeout):  # another worker was first, or trains
            ended = folder.stat().st_mtime
            if time.time() - ended > (_DELIVERED if folder.suffix else _KEPT):
                with FileLock(folder.with_suffix(".lock"), timeout=0):
                    if not folder.suffix:
                        tracking.abandon(folder, ended)
                    shutil.rmtree(folder, ignore_errors=True)


def read_from(split: Path, arrays: "Sequence[Arrays]") -> dict[str, str]:
    """Hashes of the split and of the prepared data, as tags of a run."""
    rows = hashlib.sha256((split / "rows.parquet").read_bytes()).hexdigest()
    return {"split": rows[:16]} | {f"data.{part.name}": part.digest[:16] for part in arrays}


def deliver(
    run: tracking.Run,
    delivery: "Delivery",
    model: "keras.Model | None",
    history: "pd.DataFrame",
    out_of_fold: "OutOfFold | None" = None,
) -> None:
    """Write models/<name>/ whole: the model and its recipe, run.json; history.csv where there are epochs.

    Of a fusion `model` is the head, None where it has none, and its members' files are linked beside it.
    """
    models = Path("models")
    with atomic.folder(models / delivery.name) as folder:
        delivery.write(folder, model)
        for member in delivery.settings.get("members", ()):
            for file in files(models / member):
                place = folder / MEMBERS / member / file
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(str(models / member / file), str(place))
        if len(history):
            history.to_csv(folder / "history.csv", index=False)
        if out_of_fold is not None:
            out_of_fold.write(folder)
        run.write(folder)
