"""The delivered model as an MLflow pyfunc: from raw images and raw metadata to what evaluate gave.

This module and those that it imports travel with every logged model (serving.code).
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from PIL import Image

from medpipe.data.images import to_array
from medpipe.errors import InputError
from medpipe.models import cascade, delivery, masks
from medpipe.models.decision import Rule, decide, name_sets
from medpipe.models.predict import predict
from medpipe.models.temperature import temper
from medpipe.params import ImagesVariant, PreparedImages
from medpipe.serving.cases import encode, read_image

BATCH = 32


def _load_pyfunc(path: str, model_config: dict[str, Any]) -> "Predictor":
    """What MLflow calls to load the model of the folder `path`."""
    return Predictor(Path(path), **model_config)


class Predictor:
    """A classifier, segmenter or cascade that reads a table of raw cases.

    `flips`, `temperature` (of what says probabilities) and `rule` (of what decides) are those that evaluate reports.

    `image_root` is the folder under which images may be named by their paths; None for nowhere. Who loads the model
    gives it: `load_model(uri, model_config={"image_root": "/data/images"})`. Raises InputError for no such folder.
    """

    def __init__(
        self,
        folder: Path,
        max_pixels: int,
        flips: Sequence[str],
        temperature: float | None,
        rule: dict[str, Any] | None,
        image_root: str | None = None,
    ) -> None:
        self.delivery, self.model = delivery.read(folder)
        self.max_pixels = max_pixels
        self.flips, self.temperature = flips, temperature
        self.rule = None if rule is None else Rule(**rule)
        self.root = None if image_root is None else Path(image_root).resolve()
        if self.root is not None and not self.root.is_dir():
            raise InputError(f"image_root: {image_root} is no folder; name the one that holds the images, or none")

    def predict(self, cases: pd.DataFrame) -> pd.DataFrame:
        """One row a case, in their order.

        `cases` has the column `image`, unless the model reads none: the file's bytes, the bytes as a data URI
        (`data:image/jpeg;base64,...`), or with `image_root` a path under that folder. A model that reads metadata wants
        a column for each feature too; None, NaN and what medpipe.data.missing lists stand for unknown. A classifier
        gives a probability a class, and `label`; with a rule also `decision`, a class or `refer` for asking a person,
        and `set`, the classes that are not ruled out, as `mel, nv`. A segmenter gives whether it outlines any, named
        after the class of marked images (`tumour`), `share` (of the pixels that it reads) and `mask` (a PNG of the
        image's size, 0 and 255), a cascade also `p_tumour`. Where it knows several classes of pixels, `share_<class>`
        says how much each takes, and the PNG holds their numbers, from 1 in the order of these columns. Raises
        MlflowException, whose message the scoring server passes on, that names the columns that are missing, or the row
        (from 0) and the field that is wrong.
        """
        try:
            return self._answer(cases)
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None

    def _answer(self, cases: pd.DataFrame) -> pd.DataFrame:
        variants = self.delivery.variants
        wanted = ["image"] * any(v["kind"] == "images" for v in variants)
        wanted += dict.fromkeys(name for v in variants for name in v.get("features", ()))
        if missing := [name for name in wanted if name not in cases]:
            raise InputError(f"columns missing: {', '.join(missing)}; the model reads {', '.join(wanted)}")
        cases = cases[wanted].reset_index(drop=True)
        parts = [self._predict(cases[start : start + BATCH]) for start in range(0, len(cases), BATCH)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _predict(self, cases: pd.DataFrame) -> pd.DataFrame:
        prepared = [PreparedImages(**variant) for variant in self.delivery.variants if variant["kind"] == "images"]
        images = [
            read_image(value, f"row {row}: image", self.max_pixels, prepared[0].decoding, self.root)
            for row, value in cases.get("image", pd.Series(dtype=object)).items()
        ]
        inputs = []
        for variant, names in zip(self.delivery.variants, self.delivery.features, strict=True):
            if variant["kind"] == "table":
                inputs.append(encode(cases, variant, names))
            else:
                settings = PreparedImages(**variant)
                inputs.append(np.stack([to_array(image, settings) for image in images]))
        outputs = predict(self.model, inputs, np.arange(len(cases)), len(cases), self.flips)
        match self.delivery.kind:
            case "classifier":
                return self._classified(outputs["output"])
            case "segmenter":
                return self._outlined(outputs["output"], images)
            case "cascade":
                answer = self._outlined(outputs["mask"], images, outputs["p"])
                return answer.assign(**{f"p_{self.delivery.classes[1]}": self._tempered(outputs["p"])[:, 1]})

    def _tempered(self, p: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        assert self.temperature is not None
        return temper(p, self.temperature)

    def _classified(self, p: npt.NDArray[np.float32]) -> pd.DataFrame:
        classes, tempered = self.delivery.classes, self._tempered(p)
        answer = pd.DataFrame(tempered, columns=list(classes))
        answer = answer.assign(label=[classes[i] for i in tempered.argmax(axis=1)])
        if self.rule is None:
            return answer
        return answer.assign(decision=decide(tempered, classes, self.rule), set=name_sets(tempered, classes, self.rule))

    def _outlined(
        self, probabilities: npt.NDArray[np.float32], images: Sequence[Image.Image], p: npt.NDArray | None = None
    ) -> pd.DataFrame:
        said = masks.said(probabilities)
        if p is not None:
            assert self.delivery.threshold is not None
            _, said = cascade.apply(p, said, self.delivery.threshold)
        settings, marks = PreparedImages(**self.delivery.variants[0]), self.delivery.marks
        levels = np.uint8(1 if len(marks) > 1 else 255)
        answer = {self.delivery.classes[1]: said.any(axis=(1, 2)), "share": (said > 0).mean(axis=(1, 2))}
        if len(marks) > 1:
            answer |= {f"share_{name}": (said == i).mean(axis=(1, 2)) for i, name in enumerate(marks, 1)}
        answer["mask"] = [_png(levels * mask, image, settings) for mask, image in zip(said, images, strict=True)]
        return pd.DataFrame(answer)


def _png(mask: npt.NDArray[np.uint8], image: Image.Image, variant: ImagesVariant) -> bytes:
    """The mask (h, w) at the image's size; nothing where the model's square crop leaves the image out."""
    side = min(image.size)
    width, height = (side, side) if variant.square else image.size
    whole = Image.new("L", image.size)
    part = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    whole.paste(part, ((image.width - width) // 2, (image.height - height) // 2))
    buffer = BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()
