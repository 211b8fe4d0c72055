"""How far out of its training's distribution a case lies: a distance in the model's embedding, and its p value.

The distance is Mahalanobis' from the nearest class of the training rows, all classes sharing one covariance (Lee et al.
2018, arXiv 1807.03888). The score is the share of validation rows that lie at least as far, the case counted in: a
conformal p value (Bates et al. 2023, arXiv 2104.08279), so that of new cases like those about 5 % have 0.05 or less.

Fitted by medpipe.evaluation.ood; this module travels with the served model.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medpipe.errors import InputError

FILE = "ood.npz"  # beside the model that is served
COLUMN = "ood"
EMBEDDING = "embedding"  # the layer, and the output, in which distances are measured

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Detector:
    """Of d features, k classes, q axes, and m validation rows.

    - scale (d,): a feature is divided by it; means (k, d): of the classes, so divided
    - axes (q, d), variances (q,): of the covariance within classes, the largest; rest (): its mean variance along all
      other axes
    - known (m,): distances of the validation rows, ascending
    """

    scale: Array
    means: Array
    axes: Array
    variances: Array
    rest: Array
    known: Array

    def distance(self, embedding: npt.NDArray) -> npt.NDArray[np.float64]:
        """(n,), 0 or above, of embeddings (n, d)."""
        found = np.full(len(embedding), np.inf)
        for mean in self.means:
            centred = embedding / self.scale - mean
            along = centred @ self.axes.T
            beside = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
            found = np.minimum(found, (along**2 / self.variances).sum(axis=1) + beside / self.rest)
        return np.sqrt(found)

    def score(self, embedding: npt.NDArray) -> npt.NDArray[np.float64]:
        """(n,) in (0, 1]: small for what lies far out."""
        nearer = np.searchsorted(self.known, self.distance(embedding).astype(np.float32))
        return (1 + len(self.known) - nearer) / (1 + len(self.known))


def write(detector: Detector | None, path: Path) -> None:
    """An .npz file, empty for a model without a score."""
    with path.open("wb") as file:
        np.savez(file, **({} if detector is None else asdict(detector)))


def read(path: Path) -> Detector | None:
    """None where the file is not there, or empty. Raises InputError for a damaged one."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return Detector(**file) if file.files else None
    except Exception as error:  # zipfile's, zlib's and NumPy's own
        raise InputError(f"{path}: damaged or of another version ({error}); run the evaluation again") from error
