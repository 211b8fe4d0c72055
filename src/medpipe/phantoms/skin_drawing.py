"""Draws skin lesions: once on a sheet of skin, then photographed from it in ever new framing and light."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from medpipe.phantoms.drawing import Field, ellipse, noise, soft, to_uint8

SHEET = 240  # pixels; a photograph shows about 150 x 112 of them, at whatever angle
PHOTO = (600, 450)
DRAWN = (200, 150)  # what is drawn of a photograph before it is enlarged, for speed


class Look(NamedTuple):
    """One end of a family of lesions; lengths in pixels of the sheet, colours in [0, 1]."""

    colour: tuple[float, float, float]
    patch: tuple[float, float, float]  # the second colour
    patches: float  # its share of the lesion
    cells: float  # bumps of the second colour's pattern along the sheet
    flakes: float  # opacity of white scales
    centre: float  # opacity of a white centre
    radius: float
    ragged: float  # 0: an ellipse
    edge: float  # width of the fading border


# Two ends a family; a lesion lies somewhere between, at `DEGREE`.
FAMILIES = {
    "brown": (
        Look((0.52, 0.33, 0.22), (0.40, 0.24, 0.16), 0.30, 20, 0.0, 0.0, 23, 0.05, 4),
        Look((0.33, 0.19, 0.15), (0.15, 0.12, 0.16), 0.50, 8, 0.0, 0.0, 33, 0.24, 3),
    ),
    "pink": (
        Look((0.88, 0.62, 0.64), (0.46, 0.45, 0.54), 0.22, 14, 0.0, 0.0, 30, 0.10, 3),
        Look((0.78, 0.42, 0.38), (0.90, 0.78, 0.64), 0.35, 18, 0.8, 0.0, 38, 0.28, 7),
    ),
    "tan": (
        Look((0.70, 0.54, 0.35), (0.55, 0.40, 0.25), 0.45, 15, 0.3, 0.0, 36, 0.18, 2),
        Look((0.70, 0.47, 0.36), (0.62, 0.40, 0.32), 0.35, 11, 0.0, 0.8, 26, 0.05, 8),
    ),
    "red": (
        Look((0.72, 0.12, 0.30), (0.50, 0.05, 0.28), 0.40, 12, 0.0, 0.0, 20, 0.06, 2),
        Look((0.48, 0.08, 0.32), (0.25, 0.06, 0.28), 0.50, 16, 0.0, 0.0, 30, 0.15, 3),
    ),
}
FAMILY = {
    "nv": "brown", "mel": "brown", "bcc": "pink", "akiec": "pink", "bkl": "tan", "df": "tan", "vasc": "red",
}  # fmt: skip
# Beta distributions over the way from a family's first look to its second: the pairs overlap.
DEGREE = {"nv": (2, 5), "mel": (5, 2), "bcc": (2, 5), "akiec": (5, 2), "bkl": (2, 5), "df": (5, 2), "vasc": (2, 2)}
ATYPICAL = 0.06  # share of lesions that look like any family


def draw_lesion(rng: np.random.Generator, dx: str) -> NDArray[np.uint8]:
    """A lesion of class `dx` in the middle of a sheet of skin, (SHEET, SHEET, 3)."""
    family = str(rng.choice(list(FAMILIES))) if rng.random() < ATYPICAL else FAMILY[dx]
    first, second = FAMILIES[family]
    degree = rng.beta(*DEGREE[dx])

    def between(name: str, jitter: float) -> float:
        a, b = getattr(first, name), getattr(second, name)
        return float(a + (b - a) * degree) * float(np.exp(rng.normal(0, jitter)))

    shade = rng.normal(0, 0.012, 3) + rng.normal(0, 0.04)

    def mixed(a: tuple[float, ...], b: tuple[float, ...]) -> Field:
        return _channels((1 - degree) * np.array(a) + degree * np.array(b) + shade)

    # Channels first while drawing, (3, SHEET, SHEET): three times as fast to multiply.
    skin = _skin(rng)
    inside = _outline(rng, between("radius", 0.2), between("ragged", 0.2))
    opacity = soft(inside, between("edge", 0.2)) * np.float32(rng.uniform(0.75, 0.98))
    field = noise(rng, inside.shape, round(between("cells", 0.1))) + np.float32(0.5) * noise(rng, inside.shape, 45)
    threshold = np.quantile(field, 1 - min(0.9, between("patches", 0.1)))
    lesion = _blend(mixed(first.colour, second.colour), mixed(first.patch, second.patch), soft(field - threshold, 0.6))
    scales = soft(noise(rng, inside.shape, 34) - 1.1, 0.4) * between("flakes", 0.1)
    middle = soft(inside - inside.max() * np.float32(0.55), 5) * between("centre", 0.1)
    lesion = _blend(lesion, _channels([0.95, 0.88, 0.84]), np.minimum(scales + middle, 1))
    lesion *= 1 + np.float32(0.05) * noise(rng, inside.shape, 75)
    return np.ascontiguousarray(np.moveaxis(to_uint8(_blend(skin, lesion, opacity)), 0, -1))


def photograph(rng: np.random.Generator, sheet: NDArray[np.uint8]) -> Image.Image:
    """A 600 x 450 photograph of the sheet: another angle, distance, place, light; at times hairs and a dark rim."""
    width, height = DRAWN
    scale = rng.uniform(0.6, 0.9)  # sheet pixels a drawn pixel
    turn = rng.uniform(0, 2 * np.pi)
    a, b = scale * np.cos(turn), scale * np.sin(turn)
    shift = SHEET / 2 + rng.uniform(-9, 9, 2)
    matrix = (a, b, shift[0] - a * width / 2 - b * height / 2, -b, a, shift[1] + b * width / 2 - a * height / 2)
    view = Image.fromarray(sheet).transform(DRAWN, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    light = rng.normal(1, 0.04) + rng.normal(0, 0.05) * y + rng.normal(0, 0.05) * x
    if rng.random() < 0.25:
        light *= soft(np.float32(rng.uniform(1.15, 1.35)) - np.hypot(x, y * np.float32(0.8)), 0.06)
    cast = rng.normal(1, 0.025, 3).astype(np.float32)
    grain = 3 * rng.standard_normal((height, width, 1), dtype=np.float32)
    lit = np.asarray(view) * (light[..., None] * cast) + grain
    image = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)).resize(PHOTO, Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        _hairs(rng, image)
    return image


def _channels(colour: ArrayLike) -> Field:
    return np.asarray(colour, np.float32).reshape(3, 1, 1)


def _blend(under: Field, over: Field, opacity: Field) -> Field:
    return under + (over - under) * opacity


def _skin(rng: np.random.Generator) -> Field:
    """Bare skin, (3, SHEET, SHEET): a tone of its own, blotches, pores."""
    shape = (SHEET, SHEET)
    tone = np.array([0.86, 0.69, 0.64]) + rng.normal(0, 0.02, 3) + rng.normal(0, 0.035)
    red = np.float32(0.016) * noise(rng, shape, 6) + np.float32(0.012) * noise(rng, shape, 30)
    light = 1 + np.float32(0.02) * noise(rng, shape, 11) + np.float32(0.018) * noise(rng, shape, 80)
    return (_channels(tone) - red * _channels([0, 1, 0.8])) * light


def _outline(rng: np.random.Generator, radius: float, ragged: float) -> Field:
    """Pixels inside the lesion's border (negative: outside), (SHEET, SHEET)."""
    y, x = np.mgrid[:SHEET, :SHEET].astype(np.float32) - np.float32(SHEET / 2)
    stretch = rng.uniform(0.8, 1.25)
    distance = ellipse(y, x, (0, 0), (radius * stretch, radius / stretch), rng.uniform(0, np.pi))
    bumps = noise(rng, (SHEET, SHEET), 8) + np.float32(0.6) * noise(rng, (SHEET, SHEET), 20)
    return np.float32(radius) * (1 - distance + np.float32(ragged) * bumps * np.float32(0.7))


def _hairs(rng: np.random.Generator, image: Image.Image) -> None:
    """Draw 4 to 14 curved hairs that run much the same way."""
    draw = ImageDraw.Draw(image)
    heading = rng.uniform(0, np.pi)
    tint = int(rng.integers(15, 60))
    for _ in range(int(rng.integers(4, 15))):
        angle = heading + rng.normal(0, 0.3) + np.linspace(0, rng.normal(0, 0.9), 24)
        step = rng.uniform(6, 14)
        start = rng.uniform((0, 0), PHOTO)
        points = start + step * np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1), 0)
        draw.line([tuple(p) for p in points], fill=(tint + 15, tint, tint), width=int(rng.integers(1, 4)))
