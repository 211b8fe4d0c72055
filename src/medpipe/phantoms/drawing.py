"""What the three phantoms draw with: smooth random fields, soft edges, and counts of an imbalanced set."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating]  # float32 throughout: twice as fast to draw


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Field:
    """A smooth random field (height, width), mean 0 and deviation 1, with about `cells` bumps along its height."""
    height, width = shape
    # Two rows and columns more than needed: the cubic's edge is cropped away.
    coarse = rng.standard_normal((cells + 2, max(1, round(cells * width / height)) + 2), dtype=np.float32)
    rows, columns = coarse.shape
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC, (1, 1, columns - 1, rows - 1))
    field = np.asarray(image)
    return (field - field.mean()) / field.std()


def soft(distance: Field, width: float) -> Field:
    """1 where `distance` (pixels inside an edge) is well above 0, 0 well below, over about `width` pixels between."""
    return np.float32(0.5) * (1 + np.tanh(distance / np.float32(width)))


def ellipse(y: Field, x: Field, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> Field:
    """Distance of (y, x) from `centre` in units of the ellipse's radii (down, across), turned by `angle` radians."""
    dy, dx = y - np.float32(centre[0]), x - np.float32(centre[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.hypot((dy * cos - dx * sin) / np.float32(radii[0]), (dx * cos + dy * sin) / np.float32(radii[1]))


def to_uint8(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Grey values from [0, 1] to 0-255, cut off beyond."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def apportion(shares: Mapping[str, float], total: int, at_least: int) -> dict[str, int]:
    """`total` in parts near `shares`; the commonest gives up what the rare ones need to reach `at_least`.

    A total too small for that lowers the floor to a little below an equal share.
    """
    floor = min(at_least, total // (len(shares) + 2))
    counts = {name: max(floor, int(total * share)) for name, share in shares.items()}
    commonest = max(shares, key=lambda name: shares[name])
    counts[commonest] += total - sum(counts.values())
    return counts
