"""Batches from arrays that lie in memory or in a mapped file: the one way by which data reach a model in training."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from medpipe.errors import SettingError
from medpipe.params import Augmentation, Mixing
from medpipe.training.augment import augment, pipeline
from medpipe.training.mixing import mix
from medpipe.training.workers import Map, Workers

# What a stream of random numbers is for: each has its own, whatever else is switched on.
_ORDER, _AUGMENT, _MIX = 1, 2, 3


@dataclass(frozen=True)
class Samples:
    """Some rows of arrays that lie row by row beside each other.

    - inputs: (n, h, w, 3) uint8, or (n, features) float
    - targets: (n, classes) or (n, 1) float32, or masks (n, h, w) uint8 in {0, ..., k}
    - rows: (m,) the row numbers that are used; of these the last `generated` are of generated images
    """

    inputs: npt.NDArray
    targets: npt.NDArray
    rows: npt.NDArray[np.int64]
    generated: int = 0

    @property
    def real(self) -> "Samples":
        """Without the generated images."""
        return Samples(self.inputs, self.targets, self.rows[: len(self.rows) - self.generated])


class Batches(keras.utils.PyDataset):
    """(inputs, targets) or (inputs, targets, weights) of each batch.

    Inputs keep their type: uint8 images are cast by the model, so that a quarter of the bytes travel. Masks become
    (b, h, w, 1) float32. Every row comes once an epoch, or as often as `sampler` says (from the epoch to places
    among `samples.rows`), in an order by (seed, epoch); augmentation and mixing follow
    (seed, epoch, batch) and nothing else, neither how many workers there are nor which one is first. Set `epoch` before
    each one.

    Shuffled, every batch has `batch` rows, and what is left over waits for a later epoch's order: a batch of one row
    would throw a head's batch normalisation off. Else the last batch is short; with `fill` it is filled up with its
    last row at weight 0, the true rows' weights being such that means over batches of equal size come out as over the
    rows: a backend that compiles then compiles once.

    `weights` (m,) stand beside `samples.rows`; they may be set anew before an epoch. `processes` that augment: None
    takes what the machine has to spare.
    """

    def __init__(
        self,
        samples: Samples,
        batch: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        weights: npt.NDArray[np.float32] | None = None,
        augmentation: Augmentation | None = None,
        mixing: Mixing | None = None,
        sampler: Callable[[int], npt.NDArray[np.int64]] | None = None,
        processes: int | None = None,
        fill: bool = False,
    ) -> None:
        images = samples.inputs.ndim == 4
        if (augmentation or mixing) and not images:
            raise SettingError("augmentation, mixing: for images alone; set them to null")
        if mixing and samples.targets.ndim > 2:
            raise SettingError("mixing: for classes alone, not for masks; set it to null")
        self._samples, self._batch, self.weights = samples, batch, weights
        self._seed, self._shuffle, self._sampler, self._fill = seed, shuffle, sampler, fill
        self._augmentation, self._mixing = augmentation, mixing
        self._masked = samples.targets.ndim == 3
        # One thread: Keras' own queue for more hands on batches that an earlier epoch has left in it.
        super().__init__(workers=1)
        self._pool = self._start_pool(processes)
        # Reading ahead would cost a table more than it saves.
        threads = (max(2, self._pool.count) if self._pool else 2) if images else 0
        self._threads = ThreadPoolExecutor(threads) if threads else None
        self._depth = 2 * threads
        self._ahead: dict[int, Future[tuple[Any, ...]]] = {}
        self._lock = threading.Lock()
        self._local = threading.local()
        self.epoch = 0

    def _start_pool(self, processes: int | None) -> Workers | None:
        inputs = Map.of(self._samples.inputs)
        masks = Map.of(self._samples.targets) if self._masked else None
        if self._augmentation is None or inputs is None or (self._masked and masks is None):
            return None
        # On two cores a thread does as well as a process, which takes a second to start.
        spare = len(os.sched_getaffinity(0)) - 1
        if processes is None:
            processes = min(spare, 16) if spare > 1 else 0
        return Workers(processes, inputs, masks, self._augmentation) if processes else None

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        places = np.arange(len(self._samples.rows)) if self._sampler is None else self._sampler(epoch)
        if self._shuffle:
            places = np.random.default_rng([self._seed, epoch, 0, _ORDER]).permutation(places)
            places = places[: len(places) // self._batch * self._batch or len(places)]
        self._epoch, self._places, self._ahead = epoch, places, {}

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Among `samples.rows`, what this epoch reads, in its order."""
        return self._places

    def __len__(self) -> int:
        return -(-len(self._places) // self._batch)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if self._threads is None:
            return self._make(index)
        with self._lock:
            for i in range(index, min(index + self._depth, len(self))):
                if i not in self._ahead:
                    self._ahead[i] = self._threads.submit(self._make, i)
            batch = self._ahead.pop(index)
        return batch.result()

    def _make(self, index: int) -> tuple[Any, ...]:
        places = self._places[index * self._batch : (index + 1) * self._batch]
        rows = self._samples.rows[places]
        weights = None if self.weights is None else self.weights[places]
        if self._fill:
            count = len(rows)
            rows = np.pad(rows, (0, self._batch - count), mode="edge")
            weights = np.zeros(self._batch, np.float32)
            weights[:count] = len(self) * self._batch / len(self._places)
        inputs, targets = self._read(rows, [self._seed, self._epoch, index, _AUGMENT])
        if self._masked:
            targets = targets[..., None].astype(np.float32)
        if self._mixing is not None:
            inputs, targets, weights = mix(
                inputs, targets, weights, self._mixing, [self._seed, self._epoch, index, _MIX]
            )
        return (inputs, targets) if weights is None else (inputs, targets, weights)

    def _read(self, rows: npt.NDArray[np.int64], seed: list[int]) -> tuple[npt.NDArray, npt.NDArray]:
        if self._augmentation is None:
            return self._samples.inputs[rows], self._samples.targets[rows]
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        if self._pool is not None:
            images, masks = self._pool.augment(rows, number)
        else:
            if not hasattr(self._local, "steps"):
                self._local.steps = pipeline(self._augmentation)
            before = self._samples.targets[rows] if self._masked else None
            images, masks = augment(self._local.steps, self._samples.inputs[rows], before, number)
        return images, self._samples.targets[rows] if masks is None else masks

    def close(self) -> None:
        """Ends threads and worker processes."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        if self._pool is not None:
            self._pool.close()
