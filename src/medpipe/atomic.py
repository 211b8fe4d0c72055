"""Outputs that are there whole or not at all: written to a temporary name beside the target, then renamed.

The name is always the same, so that what a killed process has left is gone with the next one: DVC lets one at a time
write an output, and a checkpoint is locked. What was there is replaced, never written to, since DVC may have linked it
to its cache, or to the same output of an experiment. Bytes reach the disk before the name does, so that a power cut
leaves no empty file under it.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it replaces `path`, on an error nothing is left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on success it replaces the folder `path`, on an error nothing is left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    _remove(temporary)
    temporary.mkdir()
    try:
        yield temporary
        for part in (*temporary.rglob("*"), temporary):
            if not part.is_symlink():
                _flush(part)
        _remove(path)
        temporary.rename(path)
        _flush(path.parent)
    finally:
        _remove(temporary)


def _flush(path: Path) -> None:
    """Wait until the disk has the file's bytes, or the folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems flush no folders. A disk that failed says so otherwise.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
