"""How an answer looks: bars, and areas laid over the image.

In colours that any kind of colour blindness tells apart (Okabe and Ito, jfly.uni-koeln.de/color), and in words.
"""

import base64
from collections.abc import Mapping
from html import escape
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from medpipe.app.texts import Speaker
from medpipe.app.vocabulary import both
from medpipe.explain import maps

LEVELS = {"high": 2 / 3, "medium": 1 / 3, "low": 0.0}  # from which probability on
COLOURS = {"high": "#0072B2", "medium": "#E69F00", "low": "#999999"}
AREAS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
SHOWN = 640  # pixels: the longer side of an image as it is shown

Pixels = npt.NDArray[np.uint8]


def level(p: float) -> str:
    return next(name for name, least in LEVELS.items() if p >= least)


def bars(chances: Mapping[str, float], say: Speaker) -> str:
    """HTML: of each class its name, its probability in figures and as a bar, and in words how high that is."""
    rows = []
    for name, p in chances.items():
        high = level(p)
        rows.append(
            '<li style="margin:0 0 .6rem;list-style:none">'
            '<div style="display:flex;justify-content:space-between;gap:1rem">'
            f"<span>{escape(both(name, say.language))}</span>"
            f'<span style="white-space:nowrap"><b>{say.percent(p)}</b> · {say(high)}</span></div>'
            '<div style="height:.6rem;border-radius:.3rem;background:rgba(128,128,128,.25)">'
            f'<div style="height:100%;border-radius:.3rem;width:{100 * p:.1f}%;background:{COLOURS[high]}"></div>'
            "</div></li>"
        )
    return f'<ul style="padding:0;margin:0">{"".join(rows)}</ul>'


def shown(image: Image.Image) -> Pixels:
    """(h, w, 3), made smaller where it is larger than SHOWN."""
    image.thumbnail((SHOWN, SHOWN))
    return np.asarray(image)


def uri(pixels: Pixels) -> str:
    """The image in its own address, so that nothing of it lies on the server between two runs of the page."""
    Image.fromarray(pixels).save(buffer := BytesIO(), "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def outlined(pixels: Pixels, mask: bytes, opacity: float) -> Pixels:
    """The image (h, w, 3) with what the PNG `mask` marks laid over it, each class in a colour of AREAS."""
    places = Image.open(BytesIO(mask), formats=("PNG",)).resize(pixels.shape[1::-1], Image.Resampling.NEAREST)
    marks = np.asarray(places)
    numbers = np.where(marks == 255, 1, marks)  # of one class: 255
    colours = np.array(AREAS)[(numbers - 1) % len(AREAS)]
    mixed = (1 - opacity) * pixels + opacity * colours
    return np.where(numbers[..., None] > 0, mixed, pixels).round().astype(np.uint8)


def heated(pixels: Pixels, heat: npt.NDArray[np.float32], opacity: float) -> Pixels:
    """The image (h, w, 3), greyer the more opaque the colours of its map (of any size, in [0, 1]) are over it."""
    grey = pixels.astype(np.float64).mean(axis=2, keepdims=True)
    colours = maps.colour(maps.enlarge(heat[None], (pixels.shape[0], pixels.shape[1]))[0])
    under = (1 - opacity) * pixels + opacity * grey
    return ((1 - opacity) * under + opacity * colours).round().astype(np.uint8)
