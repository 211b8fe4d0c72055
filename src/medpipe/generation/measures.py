"""How near generated images are to real ones, by their features. (n, d) arrays throughout, real ones first."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg

Features = npt.NDArray[np.float64]


def frechet(real: Features, other: Features) -> float:
    """The Frechet distance of two Gaussians with the sets' means and covariances, FID (arXiv 1706.08500).

    The trace of (A B)^(1/2), of covariances A = X'X and B = Y'Y, is the sum of the singular values of X Y': no root of
    a matrix is taken, and with fewer rows than features the sums are as short as the rows are few.
    """
    factors, spread = [], 0.0
    for features in (real, other):
        centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
        spread += float(np.square(centred).sum())
        tall = len(features) > features.shape[1]
        factors.append(linalg.qr(centred, mode="r", check_finite=False)[0][: features.shape[1]] if tall else centred)
    cross = factors[0] @ factors[1].T
    # Singular values by those of the square: half the time, and what is lost of the smallest does not show in the sum.
    values = linalg.eigvalsh(cross @ cross.T, check_finite=False)
    apart = np.square(real.mean(axis=0) - other.mean(axis=0)).sum()
    return float(apart + spread - 2 * np.sqrt(values.clip(0)).sum())


def kernel(real: Features, other: Features) -> float:
    """The squared maximum mean discrepancy under the kernel (x'y / d + 1)^3, KID (arXiv 1801.01401), without bias: it
    may fall below 0, and its mean does not depend on how many images there are.
    """

    def gram(x: Features, y: Features) -> Features:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Features) -> float:
        own = gram(x, x)
        return float((own.sum() - np.trace(own)) / (len(x) * (len(x) - 1)))

    return within(real) + within(other) - 2 * float(gram(real, other).mean())


def inception_score(p: npt.NDArray[np.float64]) -> float:
    """Of a classifier's (n, classes) probabilities for the generated images: exp of the mean divergence from their
    mean, 1 to the number of classes (arXiv 1606.03498).
    """
    p = p.clip(1e-16)
    return float(np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean()))


class Overlap(NamedTuple):
    """Shares but for density, which may exceed 1."""

    precision: float  # of generated images within reach of a real one (arXiv 1904.06991)
    recall: float  # of real ones within reach of a generated one
    density: float  # how many real ones reach a generated one, over `nearest` (arXiv 2002.09797)
    coverage: float  # of real ones that reach a generated one


def overlap(real: Features, other: Features, nearest: int) -> Overlap:
    """An image reaches as far as the `nearest`-th of its own set's others lies."""
    reach = np.sqrt(np.partition(squared_distances(real, real), nearest, axis=1)[:, nearest])
    reach_other = np.sqrt(np.partition(squared_distances(other, other), nearest, axis=1)[:, nearest])
    between = np.sqrt(squared_distances(real, other))
    reached = between < reach[:, None]
    return Overlap(
        float(reached.any(axis=0).mean()),
        float((between < reach_other).any(axis=1).mean()),
        float(reached.sum(axis=0).mean() / nearest),
        float((between.min(axis=1) < reach).mean()),
    )


def squared_distances(a: npt.NDArray, b: npt.NDArray) -> npt.NDArray[np.float64]:
    """(n, d) and (m, d) -> (n, m)."""
    return np.maximum(np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T, 0)
