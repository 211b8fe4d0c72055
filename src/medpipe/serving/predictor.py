"""The delivered model as an MLflow pyfunc: from raw images and raw metadata to what evaluate gave.

This module and those that it imports travel with every logged model (serving.package.CODE).
"""

import base64
import binascii
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from medpipe.data import features
from medpipe.data.features import CATEGORICAL, UNKNOWN
from medpipe.data.images import decode, to_array
from medpipe.errors import InputError
from medpipe.models import cascade, delivery
from medpipe.models.predict import predict
from medpipe.params import ImagesVariant

BATCH = 32
OLDEST = 120  # years


def _load_pyfunc(path: str, model_config: dict[str, Any]) -> "Predictor":
    """What MLflow calls to load the model of the folder `path`."""
    return Predictor(Path(path), **model_config)


class Predictor:
    """A classifier, segmenter or cascade that reads a table of raw cases."""

    def __init__(self, folder: Path, max_pixels: int, flips: Sequence[str]) -> None:
        self.delivery, self.model = delivery.read(folder)
        self.max_pixels = max_pixels
        self.flips = flips

    def predict(self, cases: pd.DataFrame) -> pd.DataFrame:
        """One row a case, in their order.

        `cases` has the column `image`, unless the model reads none: a path, the file's bytes, or the bytes as a data
        URI (`data:image/jpeg;base64,...`). A model that reads metadata wants `age` (years), `sex` and `localization`
        too; None, NaN and "unknown" stand for unknown. A classifier gives a probability a class, and `label`. A
        segmenter gives `tumour` (whether it outlines any), `share` (of the pixels that it reads) and `mask` (a PNG of
        the image's size, 0 and 255), a cascade also `p_tumour`. Raises InputError that names the columns that are
        missing, or the row (from 0) that is wrong.
        """
        variants = self.delivery.variants
        wanted = ["image"] * any(v["kind"] == "images" for v in variants)
        wanted += ["age", *CATEGORICAL] * any(v["kind"] == "table" for v in variants)
        if missing := [name for name in wanted if name not in cases]:
            raise InputError(f"columns missing: {', '.join(missing)}; the model reads {', '.join(wanted)}")
        cases = cases[wanted].reset_index(drop=True)
        parts = [self._predict(cases[start : start + BATCH]) for start in range(0, len(cases), BATCH)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _predict(self, cases: pd.DataFrame) -> pd.DataFrame:
        images = [self._image(row, value) for row, value in cases["image"].items()] if "image" in cases else []
        inputs = []
        for variant, names in zip(self.delivery.variants, self.delivery.features, strict=True):
            if variant["kind"] == "table":
                inputs.append(encode(cases, names))
            else:
                settings = ImagesVariant(**variant)
                inputs.append(np.stack([to_array(image, settings) for image in images]))
        outputs = predict(self.model, inputs, np.arange(len(cases)), len(cases), self.flips)
        match self.delivery.kind:
            case "classifier":
                return _classified(outputs["output"], self.delivery.classes)
            case "segmenter":
                return self._outlined(outputs["output"], images)
            case "cascade":
                p = outputs["tumour"].reshape(-1)
                return self._outlined(outputs["mask"], images, p).assign(p_tumour=p)

    def _image(self, row: Any, value: Any) -> Image.Image:
        name = f"row {row}"
        if isinstance(value, str) and value.startswith("data:"):
            try:
                value = base64.b64decode(value.partition("base64,")[2], validate=True)
            except binascii.Error as error:
                raise InputError(f"{name}: image is no base64 data URI: {error}") from None
        if isinstance(value, (str, Path)):
            name += f", {str(value)[:200]}"
            try:
                value = Path(value).read_bytes()
            except OSError as error:
                raise InputError(f"{name}: {error.strerror}; give a path here, bytes, or a data URI") from None
        if not isinstance(value, bytes):
            raise InputError(f"{name}: image is {type(value).__name__}, must be a path, bytes or a data URI")
        return decode(value, name=name, max_pixels=self.max_pixels)

    def _outlined(
        self, probabilities: npt.NDArray[np.float32], images: Sequence[Image.Image], p: npt.NDArray | None = None
    ) -> pd.DataFrame:
        masks = (probabilities[..., 0] >= 0.5).astype(np.uint8)  # (b, h, w)
        if p is not None:
            assert self.delivery.threshold is not None
            _, masks = cascade.apply(p, masks, self.delivery.threshold)
        settings = ImagesVariant(**self.delivery.variants[0])
        return pd.DataFrame(
            {
                "tumour": masks.any(axis=(1, 2)),
                "share": masks.mean(axis=(1, 2)),
                "mask": [_png(mask, image, settings) for mask, image in zip(masks, images, strict=True)],
            }
        )


def _classified(p: npt.NDArray[np.float32], classes: Sequence[str]) -> pd.DataFrame:
    if p.shape[1] == 1:  # one sigmoid, of the second class
        p = np.concatenate([1 - p, p], axis=1)
    return pd.DataFrame(p, columns=list(classes)).assign(label=[classes[i] for i in p.argmax(axis=1)])


def encode(cases: pd.DataFrame, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """(rows, features) of raw age, sex and localization, NaN for unknown, by the code that encodes training rows.

    `names` are the model's features; they tell which values it knows, and how it takes unknown ones. Raises InputError
    that names the row whose value is none of them, or whose age is no number of years from 0 to OLDEST.
    """
    columns, vocabulary = {}, {}
    for name in CATEGORICAL:
        found = [n.removeprefix(f"{name}_") for n in names if n.startswith(f"{name}_")]
        vocabulary[name] = [value for value in found if value != UNKNOWN]
        values = cases[name].astype(object)
        columns[name] = values.where(values.notna(), UNKNOWN)
        for row, value in columns[name].items():
            if value != UNKNOWN and value not in vocabulary[name]:
                choice = ", ".join(vocabulary[name])
                raise InputError(f"row {row}: {name} is {value!r}, must be {UNKNOWN} or one of: {choice}")
    age = pd.to_numeric(cases["age"], errors="coerce").astype(np.float64)
    for row in cases.index[(age.isna() & cases["age"].notna()) | (age < 0) | (age > OLDEST)]:
        raise InputError(f"row {row}: age is {cases['age'][row]!r}, must be years from 0 to {OLDEST}, or empty")
    policy = "category" if f"{CATEGORICAL[0]}_{UNKNOWN}" in names else "impute"
    encoded = features.encode(pd.DataFrame(columns), vocabulary, policy).assign(age=age)
    return encoded[list(names)].to_numpy(np.float32)


def _png(mask: npt.NDArray[np.uint8], image: Image.Image, variant: ImagesVariant) -> bytes:
    """The mask (h, w) in {0, 1} at the image's size; nothing where the model's square crop leaves the image out."""
    side = min(image.size)
    width, height = (side, side) if variant.square else image.size
    whole = Image.new("L", image.size)
    part = Image.fromarray(mask * 255).resize((width, height), Image.Resampling.NEAREST)
    whole.paste(part, ((image.width - width) // 2, (image.height - height) // 2))
    buffer = BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()
