"""How a chest phantom looks on its radiograph."""

import numpy as np
from PIL import Image, ImageDraw

from medpipe.phantoms.drawing import Field, ellipse, noise, soft, to_uint8

GAMMA = (0.90, 1.00, 1.08, 1.15)  # a source's grey scale
MARKS = ("L", "R", "AP", "")  # and what stands in its corner


def draw(rng: np.random.Generator, label: str, source: int, size: int) -> Image.Image:
    """A frontal radiograph of a `label` chest as the source's pictures look, size x size, greyscale."""
    # Lengths in shares of the picture; y down, x to the right, both 0 in its middle.
    y, x = np.mgrid[-0.5 : 0.5 : size * 1j, -0.5 : 0.5 : size * 1j].astype(np.float32)
    pixel, shape = 1.0 / size, (size, size)
    small = 0.88 if label == "Viral Pneumonia" else 1.0  # mostly children
    zoom = np.float32(small * rng.normal(1.12, 0.05))
    y, x = (y - np.float32(rng.normal(0, 0.02))) / zoom, (x - np.float32(rng.normal(0, 0.02))) / zoom
    width, height = rng.normal(0.145, 0.012), rng.normal(0.30, 0.02)

    shoulders = y + np.float32(0.42) - np.float32(2.2) * np.maximum(np.abs(x) - np.float32(0.08), 0) ** 2
    arms = np.float32(rng.normal(0.46, 0.02)) - np.abs(x)
    body = np.maximum(soft(np.minimum(shoulders, arms), 0.03), soft(0.10 - np.abs(x), 0.02) * soft(0.1 - y, 0.1))
    image = body * np.float32(0.62) * (1 + np.float32(0.04) * noise(rng, shape, 5))
    image += body * soft(y - 0.2, 0.15) * np.float32(0.10)  # the belly is denser
    image += soft(0.035 - np.abs(x), 0.015) * np.float32(0.10)  # spine
    lungs = np.zeros(shape, np.float32)
    outward = np.zeros(shape, np.float32)  # 0 at the hilum, 1 at the chest wall
    for side in (-1, 1):
        centre = (-0.03, side * (0.035 + width))
        # Narrow at the top, cut off by the diaphragm below.
        taper = np.float32(1) + np.float32(0.55) * (y + np.float32(0.03))
        lung = ellipse(y, (x - np.float32(centre[1])) / taper, (centre[0], 0), (height, width))
        dome = np.float32(0.20 - 0.015 * side) + np.float32(2.2) * (x - np.float32(centre[1])) ** 2 - y
        lungs = np.maximum(lungs, soft((1 - lung) * 0.12, 0.012) * soft(dome, 0.012))
        outward = np.where(np.sign(x) == side, np.clip(np.abs(x) / (2 * width + 0.035), 0, 1), outward)
    air = lungs * np.float32(rng.normal(0.45, 0.03))
    image -= air
    ribs = np.cos((y - np.float32(0.55) * x * x + np.float32(0.35) * np.abs(x)) * np.float32(2 * np.pi * 11))
    image += np.maximum(ribs, 0) ** 2 * lungs * np.float32(rng.uniform(0.05, 0.10))
    vessels = np.maximum(noise(rng, shape, 22), 0) * lungs * (1 - outward)
    image += np.float32(0.05) * vessels
    image += _disease(rng, label, y, x, outward, shape) * lungs
    heart = ellipse(y, x, (0.12, 0.045), (0.13, rng.normal(0.115, 0.012) / small), -0.5)
    image += (body * np.float32(0.56) - image) * soft((1 - heart) * 0.1, 0.012) * lungs * np.float32(0.85)
    for side in (-1, 1):  # collar bones
        bone = y + np.float32(0.25) - np.float32(0.18) * (np.abs(x) - np.float32(0.15))
        image += soft(0.012 - np.abs(bone), 0.006) * soft(side * x - 0.04, 0.01) * body * np.float32(0.10)
    return _print(rng, image, source, pixel)


def _disease(rng: np.random.Generator, label: str, y: Field, x: Field, outward: Field, shape: tuple[int, int]) -> Field:
    """What the disease adds to the lungs' brightness, from mild to severe."""
    severity = np.float32(rng.beta(3, 2))
    cloud = noise(rng, shape, 9)
    match label:
        case "COVID":
            outer = soft(outward - 0.5, 0.25) * soft(y + 0.05, 0.15)
            return soft(cloud + 0.2, 0.5) * outer * severity * np.float32(0.48)
        case "Lung_Opacity":
            side, top = rng.choice([-1, 1]), rng.choice([-0.14, 0.02, 0.12])
            place = (top + rng.normal(0, 0.02), side * rng.normal(0.18, 0.02))
            lobe = 1 - ellipse(y, x, place, (rng.uniform(0.10, 0.16), rng.uniform(0.10, 0.14)))
            return soft(lobe + np.float32(0.15) * cloud, 0.3) * (np.float32(0.3) + severity) * np.float32(0.36)
        case "Viral Pneumonia":
            streaks = np.maximum(noise(rng, shape, 26), 0)
            return (np.float32(0.35) + streaks * np.float32(0.5)) * (1 - outward) * severity * np.float32(0.50)
    return np.zeros(shape, np.float32)


def _print(rng: np.random.Generator, image: Field, source: int, pixel: float) -> Image.Image:
    """Exposure, the source's grey scale and mark, grain."""
    exposed = np.clip(image * np.float32(rng.normal(1.1, 0.05)) + np.float32(rng.normal(0.03, 0.02)), 0, 1)
    graded = exposed ** np.float32(GAMMA[source] * np.exp(rng.normal(0, 0.08)))
    graded += np.float32(0.012) * rng.standard_normal(image.shape, dtype=np.float32)
    picture = Image.fromarray(to_uint8(graded))
    if MARKS[source] and rng.random() < 0.7:
        ImageDraw.Draw(picture).text((0.06 / pixel, 0.05 / pixel), MARKS[source], fill=235, font_size=0.07 / pixel)
    return picture
