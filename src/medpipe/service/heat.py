"""A heat map of one case, by perturbation: the model is asked about the image with parts of it covered.

The variants go through the batcher in small batches, so that other requests are answered between them.
"""

import asyncio
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medpipe.explain.maps import overlay
from medpipe.explain.rise import rise
from medpipe.service.answers import plain
from medpipe.service.batching import Batcher
from medpipe.service.rows import IMAGE, BadRequestError, quoted
from medpipe.service.served import Served
from medpipe.serving.cases import read_image

SIDE = 224  # pixels; a larger image is made smaller first
MASKS, CELLS, SEED = 256, 7, 0


async def explained(batcher: Batcher, row: Mapping[str, Any], asked: str | None, max_pixels: int) -> dict[str, Any]:
    """What of the row's image speaks for the class `asked`, or for the likeliest one.

    `class` and its `probability`; `heat`, a grey PNG as a data URI, white for what raises it most; `overlay`, the image
    under the map in colours. Raises BadRequestError where the model reads no image or gives no probability, where there
    is no such class, and where the row is wrong.
    """
    served = batcher.served
    columns = probabilities(served)
    if served.decoding is None or not columns:
        raise BadRequestError(422, f"{served.version.name} reads no image, or gives no probability of a class")
    if asked is not None and asked not in columns:
        raise BadRequestError(422, f"class: {quoted(asked)} is none of {', '.join(columns)}")
    decoding = served.decoding
    by, table = await batcher.answer([dict(row)])
    [answer] = table.to_dict("records")
    if answer["error"] is not None:
        raise BadRequestError(422, f"row: {answer['error']}")
    chosen = asked or max(columns, key=lambda name: answer[columns[name]])
    loop = asyncio.get_running_loop()

    def predict(variants: npt.NDArray[np.float32]) -> npt.NDArray:
        cases = [{**row, IMAGE: _png(variant.round().astype(np.uint8))} for variant in variants]
        answered, said = asyncio.run_coroutine_threadsafe(batcher.answer(cases), loop).result()
        if answered is not by:
            raise BadRequestError(503, "the model was replaced meanwhile; try again")
        return said[[columns[chosen]]].to_numpy(np.float64).repeat(2, axis=1)  # of two classes, both are this one

    def explain() -> tuple[npt.NDArray, npt.NDArray]:
        image = read_image(row[IMAGE], IMAGE, max_pixels, decoding, None)
        image.thumbnail((SIDE, SIDE))
        pixels = np.asarray(image)
        return pixels, rise(predict, pixels[None], [0], MASKS, CELLS, SEED)[0]

    pixels, heat = await asyncio.to_thread(explain)
    return {
        "class": chosen,
        "probability": plain(answer[columns[chosen]]),
        "heat": plain(_png((255 * heat).round().astype(np.uint8))),
        "overlay": plain(_png(overlay(pixels, heat))),
        **by.about,
    }


def probabilities(served: Served) -> dict[str, str]:
    """The column of each class's probability, by the class: of a cascade that of its marked class alone."""
    if "label" in served.outputs:
        return {name: name for name in served.outputs[: served.outputs.index("label")]}
    return {name.removeprefix("p_"): name for name in served.outputs if name.startswith("p_")}


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    Image.fromarray(pixels).save(buffer := BytesIO(), "PNG", compress_level=1)
    return buffer.getvalue()
