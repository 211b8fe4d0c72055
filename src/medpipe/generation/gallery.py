"""Pictures of generated images."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medpipe import atomic
from medpipe.generation.memorised import Nearest

_GAP = 2  # pixels between images
_WIDEST = 1000  # pixels, of a JPEG
_CANVASES = 4  # shown, of all that a training left
_CAPTIONS = {
    "real-and-generated": "Real images that it did not see, and below them generated ones, class by class",
    "interpolation": "From each class to the next, with one noise",
    "closest-pixels": "The ten generated images nearest to a training image by pixels, each before that one",
    "closest-features": "The same by features",
}
Images = npt.NDArray[np.uint8]


def grid(images: Images, columns: int) -> Images:
    """(n, h, w, 3) -> one image, row by row, on white."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    whole = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + _GAP), place % columns * (width + _GAP)
        whole[top : top + height, left : left + width] = image
    return whole


def save(path: Path, images: Images, columns: int) -> None:
    """The grid as a PNG."""
    with atomic.file(path) as temporary:
        Image.fromarray(grid(images, columns)).save(temporary)


def jpeg(picture: Images | Path) -> str:
    """The picture, or that of a file, as JPEG in base64."""
    image = Image.open(picture).convert("RGB") if isinstance(picture, Path) else Image.fromarray(picture)
    image.thumbnail((_WIDEST, 2 * _WIDEST))
    data = BytesIO()
    image.save(data, "JPEG", quality=85)
    return base64.b64encode(data.getvalue()).decode()


def pairs(generated: Images, training: Images, near: Nearest, most: int) -> Images:
    """The `most` generated images that lie nearest to a training image, each before that one."""
    closest = np.argsort(near.distance, kind="stable")[:most]
    return np.stack([image for i in closest for image in (generated[i], training[near.row[i]])])


def record(
    name: str, classes: Sequence[str], report: Mapping[str, Any], pictures: Mapping[str, Any], canvases: Path
) -> dict[str, Any]:
    """What `page.shown` needs, as JSON; `pictures` as `report.measure` gives them, `canvases` a training's folder."""
    steps = sorted(canvases.glob("step-*.png"))
    kept = {round(place * (len(steps) - 1) / (_CANVASES - 1)) for place in range(_CANVASES)} if steps else set()
    rows = f"a row a class: {', '.join(classes)}"
    drawn = [
        {
            "caption": f"After step {int(steps[at].stem.removeprefix('step-')):,}, {rows}",
            "jpeg": jpeg(steps[at]),
        }
        for at in sorted(kept)
    ]
    drawn += [
        {"caption": _CAPTIONS[key], "jpeg": jpeg(grid(images, columns))} for key, (images, columns) in pictures.items()
    ]
    return {"name": name, "report": report, "pictures": drawn}
