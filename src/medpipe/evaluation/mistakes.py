"""A model's worst errors on test rows as small pictures."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.evaluation.mask_plots import CLASSES, PREDICTED, TRUTH, Example, overlay
from medpipe.evaluation.predictions import pooled
from medpipe.explain import maps

PICTURES, PICTURES_OF_MASKS = 12, 6
SIDE, QUALITY = 96, 80  # pixels of the longer side of each; of JPEG

Picture = Callable[[str], npt.NDArray[np.uint8]]  # of an id: (h, w, 3)
Explain = Callable[[Sequence[str], Sequence[int]], maps.Maps]  # of n ids and a class of each: (n, h, w)


def of_classes(
    table: pd.DataFrame, classes: tuple[str, ...], picture: Picture, explain: Explain
) -> list[dict[str, Any]]:
    """{id, truth, said, probability, jpeg} of the test rows with the highest probability on a wrong class, highest
    first. The class said is the likeliest; `jpeg`, in base64, has the image at the left, at the right the heat map of
    the class said over it."""
    rows = table[table["set"] == "test"]
    chances = rows[[f"p_{name}" for name in classes]].to_numpy(np.float64)
    said = np.array(classes)[chances.argmax(axis=1)]
    rows = rows[["id", "label"]].assign(said=said, probability=chances.max(axis=1))
    rows = rows[rows["label"] != rows["said"]].sort_values(["probability", "id"], ascending=[False, True])
    rows = rows.head(PICTURES)
    if rows.empty:
        return []
    heats = explain(rows["id"].tolist(), [classes.index(name) for name in rows["said"]])
    return [
        {
            "id": row["id"],
            "truth": row["label"],
            "said": row["said"],
            "probability": round(row["probability"], 4),
            "jpeg": jpeg(picture(row["id"]), maps.overlay(picture(row["id"]), heat)),
        }
        for row, heat in zip(rows.to_dict("records"), heats, strict=True)
    ]


def of_masks(table: pd.DataFrame, example: Callable[[str], Example], several: bool) -> list[dict[str, Any]]:
    """{id, dice, missed, false, jpeg} of the test slices with the lowest Dice, of equal ones those with more wrong
    pixels first; `jpeg` has the true mask over the slice at the left, the predicted one at the right.

    `example`: of an id of `worst_masks`; `several`: whether masks mark several classes. Missed and false are pixels;
    slices where both masks are empty are no errors.
    """
    found = []
    for row in worst_masks(table).to_dict("records"):
        _, image, truth, predicted = example(row["id"])
        sides = ((truth, CLASSES if several else [TRUTH]), (predicted, CLASSES if several else [PREDICTED]))
        pair = [(255 * overlay(image, mask, colours)).round().astype(np.uint8) for mask, colours in sides]
        one = {"id": row["id"], "dice": round(row["dice"], 4), "missed": row["fn"], "false": row["fp"]}
        found.append(one | {"jpeg": jpeg(*pair)})
    return found


def worst_masks(table: pd.DataFrame) -> pd.DataFrame:
    """id, tp, fp, fn, dice of the slices that `of_masks` shows, in its order."""
    rows = table[table["set"] == "test"]
    rows = rows[["id"]].assign(**pooled(rows))
    rows = rows.assign(wrong=rows["fp"] + rows["fn"]).query("wrong > 0")
    rows = rows.assign(dice=2 * rows["tp"] / (2 * rows["tp"] + rows["wrong"]))
    return rows.sort_values(["dice", "wrong", "id"], ascending=[True, False, True]).head(PICTURES_OF_MASKS)


def jpeg(*images: npt.NDArray[np.uint8]) -> str:
    """The images (h, w, 3), each no larger than SIDE, side by side as JPEG in base64."""
    small = []
    for image in images:
        scale = min(1.0, SIDE / max(image.shape[:2]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small.append(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA))
    written, data = cv2.imencode(".jpg", np.hstack(small)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert written
    return base64.b64encode(data.tobytes()).decode()
