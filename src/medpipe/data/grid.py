"""Where the voxels of an image and of its mask lie in the patient."""

from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_SHARE = 0.1  # of a voxel's shortest side, by which an image's and its mask's may lie apart: no pixel changes by that


class Grid(NamedTuple):
    """`shape`: voxels along each axis; `affine` (3 or 4, axes + 1): from a voxel's place to millimetres."""

    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]

    @property
    def voxel(self) -> npt.NDArray[np.float64]:
        """(axes,) mm of a voxel's sides."""
        return np.linalg.norm(self.affine[:3, :-1], axis=0)


def difference(mask: Grid, image: Grid) -> str:
    """What differs between the two, '' where a mask's voxels lie on the image's."""
    if mask.shape != image.shape:
        return f"shape {_shown(mask.shape)}, the image's {_shown(image.shape)}"
    corners = np.array([(*corner, 1) for corner in product(*((0, side - 1) for side in mask.shape))])
    apart = np.linalg.norm(corners @ (mask.affine - image.affine)[:3].T, axis=1).max()
    if apart <= _SHARE * image.voxel.min():
        return ""
    facts = [
        ("origin", [grid.affine[:3, -1] for grid in (mask, image)]),
        ("voxels", [grid.voxel for grid in (mask, image)]),
        ("directions", [(grid.affine[:3, :-1] / grid.voxel).T.ravel() for grid in (mask, image)]),
    ]
    said = [
        f"{fact} {_shown(one)}, the image's {_shown(other)}"
        for fact, (one, other) in facts
        if not np.allclose(one, other, atol=1e-3)
    ]
    return f"up to {apart:.3g} mm apart: {'; '.join(said)}"


def _shown(values: npt.ArrayLike) -> str:
    return " x ".join(f"{value:.4g}" for value in np.asarray(values))
