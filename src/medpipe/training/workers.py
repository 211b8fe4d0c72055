"""Processes that augment batches, for machines with cores to spare.

Started as commands of their own, not forked: a fork of a process that runs TensorFlow can hang, and multiprocessing's
other ways import the main script, and the backend with it, in each worker. They end when their pipe does, so that a
training killed by a signal leaves none behind.
"""

import os
import queue
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from medpipe.params import Augmentation
from medpipe.training.augment import Images, augment, pipeline


@dataclass(frozen=True)
class Map:
    """Where an array lies in a file, for another process to open it."""

    path: str
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: npt.NDArray) -> "Map | None":
        """None for what is no uint8 array that np.load has mapped."""
        if not isinstance(array, np.memmap) or isinstance(array.base, np.ndarray) or array.dtype != np.uint8:
            return None
        return cls(str(array.filename), array.offset, array.shape)

    def open(self) -> Images:
        return np.memmap(self.path, np.uint8, "r", self.offset, self.shape)


class Workers:
    """`count` processes that read the mapped images (and masks) and give them back augmented."""

    def __init__(self, count: int, images: Map, masks: Map | None, settings: Augmentation) -> None:
        self.count = count
        self._shapes = [images.shape[1:]] + ([masks.shape[1:]] if masks else [])
        self._links: list[Connection] = []
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._processes = []
        for _ in range(count):
            ours, theirs = Pipe()
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            path = os.pathsep.join(sys.path)
            self._processes.append(
                subprocess.Popen(command, pass_fds=[theirs.fileno()], env=os.environ | {"PYTHONPATH": path})
            )
            theirs.close()
            ours.send((images, masks, settings))
            self._links.append(ours)
            self._idle.put(ours)

    def augment(self, rows: npt.NDArray[np.int64], seed: int) -> tuple[Images, Images | None]:
        """The rows' images and masks, augmented. Waits for an idle worker; any number of threads may call it."""
        link = self._idle.get()
        try:
            link.send((rows, seed))
            arrays = [np.empty((len(rows), *shape), np.uint8) for shape in self._shapes]
            for array in arrays:
                link.recv_bytes_into(array.data.cast("B"))
        except (EOFError, OSError) as error:
            raise RuntimeError("an augmentation worker has died; its own message is above") from error
        finally:
            self._idle.put(link)
        return arrays[0], arrays[1] if len(arrays) > 1 else None

    def close(self) -> None:
        for link in self._links:
            link.close()
        for process in self._processes:
            process.wait()


def _work(link: Any) -> None:
    images_map, masks_map, settings = link.recv()
    images, masks = images_map.open(), masks_map.open() if masks_map else None
    steps = pipeline(settings)
    while True:
        rows, seed = link.recv()
        done = augment(steps, images[rows], None if masks is None else masks[rows], seed)
        for array in done:
            if array is not None:
                link.send_bytes(array.data.cast("B"))


if __name__ == "__main__":
    with suppress(EOFError, ConnectionError, KeyboardInterrupt):
        _work(Connection(int(sys.argv[1])))
