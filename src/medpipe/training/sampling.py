"""Over- and undersampling of classes, by a schedule over the epochs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medpipe.errors import SettingError
from medpipe.params import Sampling

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sampler:
    """Which rows each epoch of a phase draws, and how often.

    - labels (m,): the class number of each training row, of generated images last; classes: their names
    - seed: decides, with the epoch, which rows of a class come once more than the others
    - generated: how many of the rows are generated images, of kind `generated` alone

    Unlike a draw with replacement it has exactly the counts that it should, and each row of a class comes as often as
    any other to within one. Raises SettingError for a class without a row.
    """

    sampling: Sampling
    labels: Places
    classes: tuple[str, ...]
    seed: int
    generated: int = 0

    def __post_init__(self) -> None:
        rows = self._rows
        if not rows.all():
            raise SettingError(f"sampling: no training row of class {self.classes[int(rows.argmin())]}; merge it")

    @property
    def _real(self) -> int:
        return len(self.labels) - self.generated

    @property
    def _rows(self) -> Places:
        """(classes,) how many real rows each has."""
        return np.bincount(self.labels[: self._real], minlength=len(self.classes))

    def __call__(self, epoch: int) -> Places:
        """(draws,) places among the training rows for `epoch` (from 0), class by class."""
        counts = self.counts(epoch)
        if counts is None:
            return np.arange(self._real)
        drawn = []
        for label, count in enumerate(counts):
            pool = np.flatnonzero(self.labels == label)
            if self.sampling.kind == "generated":
                own, pool = pool[pool < self._real], pool[pool >= self._real]
                drawn.append(own)
                count -= len(own)
                if count and not len(pool):
                    raise SettingError(f"sampling: no generated image of class {self.classes[label]}")
            times, more = divmod(int(count), max(1, len(pool)))
            extra = np.random.default_rng([self.seed, epoch, label]).permutation(pool)[:more]
            drawn += [np.tile(pool, times), extra]
        return np.concatenate(drawn)

    def counts(self, epoch: int) -> Places | None:
        """(classes,) draws of each class in `epoch` (from 0); None for the plain set."""
        draws = [draws for first, draws in self.sampling.schedule if first <= epoch + 1][-1]
        if draws is None:
            return None
        if self.sampling.kind != "balanced":
            return np.maximum(self._rows, int(draws))
        total, k = self._real if draws == "rows" else int(draws), len(self.classes)
        # What does not divide goes to each class in turn.
        return total // k + ((np.arange(k) + epoch) % k < total % k)

    def drawn(self, places: Places) -> dict[str, int]:
        """How many rows of each class stand at `places` among the training rows."""
        return self._named(self.labels[places])

    def invented(self, places: Places) -> dict[str, int]:
        """How many of them are generated images."""
        return self._named(self.labels[places[places >= self._real]])

    def _named(self, labels: Places) -> dict[str, int]:
        return dict(zip(self.classes, np.bincount(labels, minlength=len(self.classes)).tolist(), strict=True))

    def until(self, epoch: int, epochs: int) -> int:
        """The end, at most `epochs`, of the stretch of epochs of one length that `epoch` (from 0) is in."""
        return min([first - 1 for first, _ in self.sampling.schedule if first - 1 > epoch] + [epochs])
