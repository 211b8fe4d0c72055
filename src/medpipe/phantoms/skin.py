"""A stand-in for HAM10000 (doi 10.1038/sdata.2018.161) and the ISIC-2018 test set, in their files and layout.

The classes pair off twice: photographs tell four looks apart, age and site of the body four kinds of patient, and only
both together single out a class. The two classes of a pair differ by degree, so that neither part is a coin toss.

    look \\ patient   young, trunk   old, back   old, face   middle-aged, leg
    brown            nv             mel
    pink                            bcc         akiec
    tan                                         bkl         df
    red              vasc
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from medpipe.params import SkinPhantom
from medpipe.phantoms.drawing import apportion
from medpipe.phantoms.skin_drawing import draw_lesion, photograph

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
EXTERNAL_COLUMNS = ("image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
FIRST_IMAGE, FIRST_EXTERNAL = 24306, 34524  # as in the originals

# About the square root of the real shares: seven rare lesions in a hundred would leave none for the test set.
SHARES = {"nv": 0.50, "mel": 0.13, "bkl": 0.12, "bcc": 0.09, "akiec": 0.07, "vasc": 0.045, "df": 0.045}
FEWEST = 60  # lesions of a class: the 15 % of the test set are the 8 that an interval needs

AGES = {  # mean, deviation
    "nv": (36, 13), "vasc": (22, 14), "mel": (60, 11), "bcc": (70, 9), "akiec": (73, 8), "bkl": (64, 10),
    "df": (48, 10),
}  # fmt: skip
SITES = {
    "nv": {"trunk": 0.50, "abdomen": 0.25, "back": 0.10, "foot": 0.07, "genital": 0.05, "acral": 0.03},
    "vasc": {"abdomen": 0.70, "trunk": 0.20, "foot": 0.10},
    "mel": {"back": 0.65, "upper extremity": 0.20, "chest": 0.15},
    "bcc": {"chest": 0.45, "back": 0.30, "upper extremity": 0.25},
    "akiec": {"face": 0.35, "scalp": 0.30, "hand": 0.25, "ear": 0.10},
    "bkl": {"face": 0.65, "neck": 0.20, "ear": 0.10, "scalp": 0.05},
    "df": {"lower extremity": 0.85, "upper extremity": 0.15},
}
ANYWHERE = {
    "back": 0.21, "lower extremity": 0.20, "trunk": 0.14, "upper extremity": 0.12, "abdomen": 0.10, "face": 0.08,
    "chest": 0.04, "foot": 0.03, "neck": 0.02, "scalp": 0.02, "hand": 0.015, "ear": 0.01, "genital": 0.01,
    "acral": 0.005,
}  # fmt: skip
ATYPICAL_SITE = 0.15  # share of lesions that lie anywhere
MALE = {"nv": 0.48, "mel": 0.62, "bcc": 0.62, "bkl": 0.55, "akiec": 0.65, "vasc": 0.5, "df": 0.4}
PROOFS = {  # dx_type, near the real shares: it leaks the class
    "nv": {"follow_up": 0.55, "histo": 0.37, "consensus": 0.08},
    "bkl": {"histo": 0.70, "consensus": 0.24, "confocal": 0.06},
    "vasc": {"histo": 0.5, "consensus": 0.5},
    "df": {"histo": 0.5, "consensus": 0.5},
    "mel": {"histo": 1.0},
    "bcc": {"histo": 1.0},
    "akiec": {"histo": 1.0},
}
REPEATED = 0.25  # share of lesions photographed 2 to 4 times


class Lesion(NamedTuple):
    dx: str
    dx_type: str
    age: str  # as the real file has it: "45.0" or empty
    sex: str
    localization: str
    photographs: int


def write(folder: Path, settings: SkinPhantom) -> None:
    """Write the archive into the existing `folder`. The same settings give the same bytes."""
    rng = np.random.default_rng(settings.seed)
    lesions = _lesions(rng, settings.lesions)
    total = sum(lesion.photographs for lesion in lesions)
    images = iter(FIRST_IMAGE + rng.permutation(total))  # ids say nothing about the class
    names = iter(rng.permutation(len(lesions)))
    parts = [folder / "HAM10000_images_part_1", folder / "HAM10000_images_part_2"]
    for part in parts:
        part.mkdir()
    rows = []
    for number, lesion in enumerate(lesions):
        stream = np.random.default_rng([settings.seed, 1, number])
        drawn = draw_lesion(stream, lesion.dx)
        lesion_id = f"HAM_{next(names):07d}"
        for _ in range(lesion.photographs):
            image = next(images)
            part = parts[int(image - FIRST_IMAGE >= (total + 1) // 2)]
            _save(photograph(stream, drawn), part / f"ISIC_{image:07d}.jpg")
            rows.append((lesion_id, f"ISIC_{image:07d}", *lesion[:5]))
    _write_csv(folder / "HAM10000_metadata.csv", COLUMNS, rows)
    if settings.external:
        _write_external(folder, settings)


def _lesions(rng: np.random.Generator, total: int) -> list[Lesion]:
    counts = apportion(SHARES, total, FEWEST)
    classes = rng.permutation([dx for dx, count in counts.items() for _ in range(count)])
    # Disjoint sets, so that every kind of gap is there however few the lesions.
    gaps = rng.permutation(total)
    few, some = max(1, total // 60), max(1, total // 30)
    nothing, no_site, no_sex = gaps[:few], gaps[few : few + some], gaps[few + some : 2 * few + some]
    repeated = set(rng.permutation(total)[: round(REPEATED * total)].tolist())
    newborn = int(np.flatnonzero(classes == "nv")[0])  # age 0 is a real age
    lesions = []
    for i, dx in enumerate(classes.tolist()):
        age = 0 if i == newborn else int(np.clip(round(rng.normal(*AGES[dx]) / 5) * 5, 0, 85))
        site = _choose(rng, ANYWHERE if rng.random() < ATYPICAL_SITE else SITES[dx])
        sex = "male" if rng.random() < MALE[dx] else "female"
        lesions.append(
            Lesion(
                dx=dx,
                dx_type=_choose(rng, PROOFS[dx]),
                age="" if i in nothing and i != newborn else f"{age}.0",
                sex="unknown" if i in nothing or i in no_sex else sex,
                localization="unknown" if i in nothing or i in no_site else site,
                photographs=int(rng.integers(2, 5)) if i in repeated else 1,
            )
        )
    return lesions


def _write_external(folder: Path, settings: SkinPhantom) -> None:
    """The ISIC-2018 test set: other lesions, one photograph each, its own one-hot table and no metadata."""
    rng = np.random.default_rng([settings.seed, 2])
    counts = apportion(SHARES, settings.external, at_least=3)
    classes = rng.permutation([dx for dx, count in counts.items() for _ in range(count)])
    truth = folder / "ISIC2018_Task3_Test_GroundTruth"
    inputs = folder / "ISIC2018_Task3_Test_Input"
    truth.mkdir()
    inputs.mkdir()
    rows = []
    for number, dx in enumerate(classes.tolist()):
        stream = np.random.default_rng([settings.seed, 3, number])
        name = f"ISIC_{FIRST_EXTERNAL + number:07d}"
        _save(photograph(stream, draw_lesion(stream, dx)), inputs / f"{name}.jpg")
        rows.append((name, *("1.0" if column == dx.upper() else "0.0" for column in EXTERNAL_COLUMNS[1:])))
    _write_csv(truth / f"{truth.name}.csv", EXTERNAL_COLUMNS, rows)


def _choose(rng: np.random.Generator, shares: dict[str, float]) -> str:
    values = np.array(list(shares.values()))
    return list(shares)[int(rng.choice(len(values), p=values / values.sum()))]


def _save(image: Image.Image, path: Path) -> None:
    image.save(path, "JPEG", quality=80)


def _write_csv(path: Path, header: tuple[str, ...], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
