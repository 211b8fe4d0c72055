"""A stand-in for the LGG MRI segmentation data (doi 10.1016/j.compbiomed.2019.05.002), in its files and layout.

A patient is a small three-dimensional head, cut into slices from below to the crown: each has a run of neighbouring
slices with a tumour that is bright in FLAIR, and slices without on either side of it.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medpipe.params import BrainPhantom
from medpipe.phantoms.drawing import Field, ellipse, noise, soft, to_uint8

COLUMNS = (
    "Patient", "RNASeqCluster", "MethylationCluster", "miRNACluster", "CNCluster", "RPPACluster", "OncosignCluster",
    "COCCluster", "histological_type", "neoplasm_histologic_grade", "tumor_tissue_site", "laterality", "tumor_location",
    "gender", "age_at_initial_pathologic", "race", "ethnicity", "death01",
)  # fmt: skip
LISTING = ("patient_id", "image_path", "mask_path", "mask")
HIGHEST = (4, 5, 4, 3, 4, 3, 3, 3, 2, 1, 3, 6, 2)  # codes run from 1; the columns up to gender
SITES = {"DU": 0.41, "HT": 0.31, "CS": 0.15, "FG": 0.13}
PRE, FLAIR, POST = range(3)
# Intensities in the three channels. Real files show the scalp bright in pre- and post-contrast, fluid dark in FLAIR.
SCALP, SKULL, FLUID = (0.62, 0.42, 0.66), (0.08, 0.06, 0.10), (0.12, 0.08, 0.13)
GREY, WHITE, TUMOUR, RIM = (0.33, 0.42, 0.34), (0.42, 0.34, 0.43), (0.27, 0.74, 0.30), (0.30, 0.70, 0.62)


class Head(NamedTuple):
    """One patient's anatomy and scanner; lengths as shares of the slice, heights from -1 (base) to 1 (crown)."""

    centre: tuple[float, float]
    radii: tuple[float, float]  # down, across, at the widest slice
    turn: float
    heights: NDArray[np.float64]  # of the slices
    skull: float
    ventricle: float
    gain: NDArray[np.float32]  # a channel
    grain: float
    side: int  # of the tumour: -1, 1
    tumour: tuple[float, float, float]  # radius; place down and outwards, in head radii
    run: tuple[int, int]  # first slice with tumour and the one after the last
    contrast: float  # of the tumour
    enhancing: bool
    without_post: bool  # the real data repeat FLAIR where a sequence is missing


def write(folder: Path, settings: BrainPhantom) -> None:
    """Write the archive into the existing `folder`. The same settings give the same bytes."""
    rng = np.random.default_rng(settings.seed)
    root = folder / "kaggle_3m"
    root.mkdir()
    # Every site twice where there is room, so that a split by patient has each.
    sites = [*SITES, *SITES, *rng.choice(list(SITES), settings.patients, p=list(SITES.values()))][: settings.patients]
    numbers = rng.choice(9000, settings.patients, replace=False) + 1000
    rows, listed = [], []
    for site, number in sorted(zip(sites, numbers.tolist(), strict=True)):
        patient = f"TCGA_{site}_{number}"
        stream = np.random.default_rng([settings.seed, number])
        name = f"{patient}_{stream.integers(1985, 2009)}{stream.integers(1, 13):02d}{stream.integers(1, 29):02d}"
        (root / name).mkdir()
        head = _head(stream, site, settings.slices)
        for index in range(len(head.heights)):
            image, mask = _slice(stream, head, index, settings.size)
            image.save(root / name / f"{name}_{index + 1}.tif", compression="tiff_deflate")
            mask.save(root / name / f"{name}_{index + 1}_mask.tif", compression="tiff_deflate")
            paths = (f"{name}/{name}_{index + 1}{end}.tif" for end in ("", "_mask"))
            listed.append((patient, *paths, int(np.asarray(mask).any())))
        rows.append(_clinical(stream, patient))
    _write_csv(root / "data.csv", COLUMNS, rows)
    # Out of step with the paths beside it, as in the public file.
    patients = [patient for patient, *_ in reversed(listed)]
    _write_csv(root / "data_mask.csv", LISTING, [(p, *rest) for p, (_, *rest) in zip(patients, listed, strict=True)])


def _head(rng: np.random.Generator, site: str, slices: int) -> Head:
    spread = slices // 4
    total = max(3, slices + int(rng.integers(-spread, spread + 1)))
    length = max(1, round(total * rng.uniform(0.3, 0.5)))
    room = max(1, total - length - 1)  # at least one slice without on either side
    start = 1 + int(rng.integers(room // 6, room - room // 6))
    scanner = list(SITES).index(site) / len(SITES) - 0.4
    return Head(
        centre=(rng.normal(0.5, 0.015), rng.normal(0.5, 0.015)),
        radii=(rng.normal(0.41, 0.015), rng.normal(0.32, 0.012)),
        turn=rng.normal(0, 0.08),
        heights=np.linspace(rng.uniform(-0.85, -0.6), rng.uniform(0.8, 0.92), total),
        skull=rng.uniform(0.018, 0.032),
        ventricle=rng.uniform(0.7, 1.3),
        gain=(rng.normal(1, 0.1, 3) * (1 + 0.15 * scanner)).astype(np.float32),
        grain=rng.uniform(0.015, 0.035),
        side=int(rng.choice([-1, 1])),
        tumour=(float(np.exp(rng.normal(np.log(0.115), 0.25))), rng.uniform(-0.45, 0.45), rng.uniform(0.35, 0.6)),
        run=(start, min(start + length, total)),
        contrast=rng.uniform(0.5, 0.95),
        enhancing=bool(rng.random() < 0.4),
        without_post=bool(rng.random() < 0.08),
    )


def _slice(rng: np.random.Generator, head: Head, index: int, size: int) -> tuple[Image.Image, Image.Image]:
    """The slice (RGB: pre-contrast, FLAIR, post-contrast) and its mask (L: 0, 255), both size x size."""
    height = head.heights[index]
    # Channels first while drawing; lengths in shares of the slice, so that `pixel` turns them into soft edges.
    y, x = np.mgrid[: 1 : size * 1j, : 1 : size * 1j].astype(np.float32)
    pixel = 1.0 / size
    narrow = float(np.sqrt(max(0.05, 1 - height**2 * (0.95 if height > 0 else 0.45))))
    radii = (head.radii[0] * narrow, head.radii[1] * narrow)
    shape = (size, size)
    y = y + np.float32(0.006) * noise(rng, shape, 5)
    x = x + np.float32(0.006) * noise(rng, shape, 5)
    inside = (1 - ellipse(y, x, head.centre, radii, head.turn)) * min(radii)  # from the skin inwards

    image = np.zeros((3, size, size), np.float32)
    image = _paint(image, SCALP, soft(inside, pixel))
    image = _paint(image, SKULL, soft(inside - 0.025, pixel))
    image = _paint(image, FLUID, soft(inside - 0.025 - head.skull, pixel))
    cortex = inside - 0.035 - head.skull
    folds = noise(rng, shape, 26)
    brain = soft(cortex - np.float32(0.008) * np.maximum(folds, 0), pixel)
    image = _paint(image, GREY, brain)
    image = _paint(image, WHITE, soft(cortex - 0.035 - np.float32(0.018) * folds, 2 * pixel) * brain)
    sulci = soft(np.float32(0.12) - np.abs(noise(rng, shape, 14)), 0.08) * soft(0.05 - cortex, 0.015)
    image = _paint(image, FLUID, sulci * brain * np.float32(0.6))
    # Away from the midline (left negative), and down from the centre, in a frame turned with the head.
    dy, dx = y - np.float32(head.centre[0]), x - np.float32(head.centre[1])
    across = dx * np.float32(np.cos(head.turn)) + dy * np.float32(np.sin(head.turn))
    down = dy * np.float32(np.cos(head.turn)) - dx * np.float32(np.sin(head.turn))
    image = _paint(image, FLUID, soft(0.004 - np.abs(across), pixel) * brain * np.float32(0.8))
    image = _paint(image, FLUID, _ventricles(across, down, height, head) * brain)
    if height < -0.45:  # eyes, in front of the brain
        for side in (-1, 1):
            eye = ellipse(down, across, (-0.66 * radii[0], side * 0.4 * radii[1]), (0.055, 0.05))
            image = _paint(image, FLUID, soft((1 - eye) * 0.05, pixel))

    mask = np.zeros(shape, bool)
    if head.run[0] <= index < head.run[1]:
        edge = _tumour(rng, across, down, index, head, radii)
        mask = (edge > 0) & (cortex > 0)
        opacity = soft(edge, 2 * pixel) * brain
        image = _paint(image, TUMOUR, opacity * np.float32(head.contrast))
        if head.enhancing:
            image = _paint(image, RIM, soft(0.010 - np.abs(edge - 0.02), pixel) * opacity)
    image += np.float32(0.02) * noise(rng, shape, 12) * image
    image = image * head.gain[:, None, None]
    image += np.float32(head.grain) * rng.standard_normal(image.shape, dtype=np.float32)
    if head.without_post:
        image[POST] = image[FLAIR]
    rgb = np.ascontiguousarray(np.moveaxis(to_uint8(image), 0, -1))
    return Image.fromarray(rgb), Image.fromarray(mask.astype(np.uint8) * np.uint8(255))


def _ventricles(across: Field, down: Field, height: float, head: Head) -> Field:
    """Opacity of the two lateral ventricles: crescents beside the midline, in the middle third of the head."""
    size = head.ventricle * max(0.0, 1 - ((height - 0.1) / 0.4) ** 2)
    if size == 0:
        return np.zeros_like(across)
    bent = np.abs(across) - np.float32(0.025) - np.float32(1.2) * down * down
    return soft((1 - ellipse(down, bent, (0, 0), (0.13 * size, 0.022 * size))) * 0.02, 0.006)


def _tumour(
    rng: np.random.Generator, across: Field, down: Field, index: int, head: Head, radii: tuple[float, float]
) -> Field:
    """How far inside the tumour's edge each pixel lies (shares of the slice; negative outside)."""
    first, end = head.run
    middle = (index + 0.5 - first) / (end - first) * 2 - 1  # -1 to 1 along the run
    size, place_down, place_out = head.tumour
    radius = size * float(np.sqrt(1 - 0.85 * middle**2))
    centre = (place_down * radii[0], head.side * place_out * radii[1])
    bumps = np.float32(0.12) * noise(rng, across.shape, 6)
    return (1 - ellipse(down, across, centre, (radius * 1.1, radius * 0.9), head.side * 0.4) + bumps) * np.float32(
        radius
    )


def _paint(image: Field, colour: tuple[float, float, float], opacity: Field) -> Field:
    return image + (np.array(colour, np.float32).reshape(3, 1, 1) - image) * opacity


def _clinical(rng: np.random.Generator, patient: str) -> list[str]:
    """A row of data.csv: random codes, some missing as in the original; nothing here tells of the slices."""
    codes = [str(rng.integers(1, high + 1)) for high in HIGHEST]
    values = [*codes, str(rng.integers(20, 76)), "3", "2", str(int(rng.random() < 0.25))]
    return [patient, *("" if rng.random() < 0.04 else value for value in values)]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
