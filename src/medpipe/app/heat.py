"""A heat map on request: RISE over the model's own probabilities, as the service's /explain has it."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from medpipe.app.look import Pixels
from medpipe.explain.rise import rise
from medpipe.service.heat import CELLS, SEED, SIDE, probabilities
from medpipe.service.rows import IMAGE
from medpipe.service.served import Served

MASKS = 128  # half as many as the service's: a person waits


def explains(model: Served) -> bool:
    """Whether the model reads an image and says how probable a class is."""
    return IMAGE in model.inputs and bool(probabilities(model))


def explained(model: Served, pixels: Pixels, person: Mapping[str, Any], name: str) -> npt.NDArray[np.float32]:
    """(h, w) in [0, 1], of the image made smaller to SIDE: what raises the probability of the class `name`."""
    columns = probabilities(model)
    turned = name not in columns  # a cascade says the probability of its second class alone
    [column] = columns.values() if turned else [columns[name]]
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))

    def predict(variants: npt.NDArray[np.float32]) -> npt.NDArray:
        rows = [
            {IMAGE: _png(variant), **{key: person[key] for key in model.inputs if key != IMAGE}} for variant in variants
        ]
        p = model.predict(pd.DataFrame(rows, dtype=object))[column].to_numpy(np.float64)
        return (1 - p if turned else p)[:, None].repeat(2, axis=1)  # of two classes, both are this one

    return rise(predict, np.asarray(image)[None], [0], MASKS, CELLS, SEED)[0]


def _png(pixels: npt.NDArray[np.float32]) -> bytes:
    Image.fromarray(pixels.round().astype(np.uint8)).save(buffer := BytesIO(), "PNG", compress_level=1)
    return buffer.getvalue()
