"""Images to try a model with: phantoms of its task, drawn by the code."""

from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from medpipe.params import BrainPhantom
from medpipe.phantoms import brain, chest_drawing
from medpipe.phantoms.skin_drawing import draw_lesion, photograph

SEED, SIZE = 7, 256


@cache
def drawings(task: str) -> tuple[bytes, ...]:
    """Three files; of a task without phantoms, grey ramps. The same every time."""
    rng = np.random.default_rng(SEED)
    match task:
        case "skin":
            images = [photograph(rng, draw_lesion(rng, dx)) for dx in ("nv", "mel", "vasc")]
        case "brain":
            images = _slices()
        case "chest":
            images = [chest_drawing.draw(rng, label, 0, SIZE) for label in ("Normal", "COVID", "Lung_Opacity")]
        case _:
            ramp = Image.linear_gradient("L")
            images = [ramp, ramp.rotate(90), Image.radial_gradient("L")]
    return tuple(map(_png, images))


def _slices() -> list[Image.Image]:
    """The slices of a drawn head that its archive would hold."""
    with TemporaryDirectory() as name:
        brain.write(Path(name), BrainPhantom(seed=SEED, patients=1, slices=4, size=SIZE))
        paths = sorted(path for path in Path(name).rglob("*.tif") if not path.stem.endswith("_mask"))
        return [Image.open(path).convert("RGB") for path in paths[:3]]


def _png(image: Image.Image) -> bytes:
    image.save(buffer := BytesIO(), "PNG")
    return buffer.getvalue()
