"""The delivered model as an MLflow pyfunc: from raw images and raw metadata to what evaluate gave.

This module and those that it imports travel with every logged model (serving.code).
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from PIL import Image

from medpipe.data import frames, nifti
from medpipe.data.images import decode, to_array
from medpipe.errors import InputError
from medpipe.models import delivery, masks, ood, threshold
from medpipe.models.decision import Rule, decide, name_sets
from medpipe.models.predict import predict
from medpipe.models.temperature import temper
from medpipe.params import PreparedImages
from medpipe.serving import columns, manifest, signing
from medpipe.serving.cases import encode, read_file
from medpipe.serving.session import Session

BATCH = 32

Size = tuple[int, int]  # width and height of an image


def _load_pyfunc(path: str, model_config: dict[str, Any]) -> "Predictor":
    """What MLflow calls to load the model of the folder `path`, two below the package's own. Raises InputError for a
    package of which a byte was changed, or whose signature is wanted and wrong.
    """
    package = Path(path).parents[1]
    manifest.check(package)
    signing.check(package, imported=True)
    return Predictor(Path(path), **model_config)


def load(package: str | Path, image_root: str | None = None) -> "Predictor":
    """The model of a package that lies in a folder, without MLflow. Raises InputError as `_load_pyfunc` does."""
    about = yaml.safe_load((Path(package) / "MLmodel").read_text("utf-8"))["flavors"]["python_function"]
    return _load_pyfunc(str(Path(package) / about["data"]), about["config"] | {"image_root": image_root})


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
        self.delivery, self.session = delivery.read_recipe(folder), Session(folder / delivery.GRAPH)
        self.pool = self.session.pool  # Pillow decodes and resizes without Python's lock
        self.detector = ood.read(folder / ood.FILE)
        self.images = [PreparedImages(**v) for v in self.delivery.variants if v["kind"] == "images"]
        self.max_pixels = max_pixels
        self.flips, self.temperature = flips, temperature
        self.rule = None if rule is None else Rule(**rule)
        self.root = None if image_root is None else Path(image_root).resolve()
        if self.root is not None and not self.root.is_dir():
            raise InputError(f"image_root: {image_root} is no folder; name the one that holds the images, or none")

    def get_raw_model(self) -> "Predictor":
        """What MLflow's wrapper calls in a method of this name, by which `observe` is reached from outside."""
        return self

    def predict(self, cases: pd.DataFrame) -> pd.DataFrame:
        """One row a case, in their order.

        `cases` has the column `image`, unless the model reads none: the file's bytes, the bytes as a data URI
        (`data:image/jpeg;base64,...`), or with `image_root` a path under that folder. A model that reads metadata wants
        a column for each feature too; None, NaN and what medpipe.data.missing lists stand for unknown. A classifier
        gives a probability a class, and `label`; with a rule also `decision`, a class or `refer` for asking a person,
        and `set`, the classes that are not ruled out, as `mel, nv`. A segmenter gives whether it outlines any, named
        after the class of marked images (`tumour`), `share` (of the pixels that it reads) and `mask` (a PNG of the
        image's size, 0 and 255), a cascade also `p_tumour`. Where it knows several classes of pixels, `share_<class>`
        says how much each takes, and the PNG holds their numbers, from 1 in the order of these columns. Where the model
        has an out-of-distribution score, `ood` is the share of validation rows that lie as far from its training rows,
        or farther: near 0 for what it has not learnt.

        A NIfTI volume as a whole, where a model that outlines reads slices, has one answer: `mask` is a volume on its
        voxels (.nii.gz) of numbers from 1, `share` is of its voxels, `p_tumour` that of its most probable slice, `ood`
        that of the one that lies farthest.

        `error` says what is wrong with a row, and its field; the row's other columns are null. It is null where all is
        well. Raises MlflowException, whose message the scoring server passes on, that names the columns that are
        missing; InputError where MLflow is not installed.
        """
        return self.observe(cases).drop(columns=ood.EMBEDDING)

    def observe(self, cases: pd.DataFrame) -> pd.DataFrame:
        """What `predict` answers, and `embedding`: of each row its (d,) float32, in which `ood` is measured; null where
        a row is wrong, and of a model without.
        """
        wanted = columns.read(self.delivery)
        if missing := [name for name in wanted if name not in cases]:
            lack = f"columns missing: {', '.join(missing)}; the model reads {', '.join(wanted)}"
            try:
                from mlflow.exceptions import MlflowException  # 2 s, which who loads the package without it is spared
            except ModuleNotFoundError:
                raise InputError(lack) from None
            raise MlflowException.invalid_parameter_value(lack)
        cases = cases[wanted].reset_index(drop=True)
        errors = defaultdict[Hashable, list[str]](list)
        parts, images = [], cases
        if self._outlines_volumes():
            for row, value in cases["image"].items():
                if (volume := self._volume(value)) is not None:
                    parts.append(self._of_volume(cases.loc[[row]], *volume, errors))
                    images = images.drop(index=row)
        for start in range(0, len(images), BATCH):
            answer = self._answer(images[start : start + BATCH], errors)
            if "mask" in answer:
                answer["mask"] = answer["mask"].map(self._png)
            parts.append(answer)
        names = [*columns.answered(self.delivery, self.rule is not None, self.detector is not None)]
        parts = [part for part in parts if len(part)] or [pd.DataFrame()]
        answer = pd.concat(parts).reindex(cases.index, columns=[*names, ood.EMBEDDING])
        if errors:
            answer = answer.astype(object).where(answer.notna(), None)  # what JSON calls null
        told = ["; ".join(errors[row]) if row in errors else None for row in cases.index]
        return answer.assign(**{columns.ERROR: pd.Series(told, dtype=object)})

    def _outlines_volumes(self) -> bool:
        return self.delivery.kind != "classifier" and self.images[0].decoding.axis is not None

    def _volume(self, value: Any) -> tuple[bytes, str] | None:
        """The file and its name, where a case's image is a volume as a whole."""
        try:
            data, name = read_file(value, "image", self.max_pixels, self.images[0].decoding, self.root)
        except InputError:  # which the row is told where it is read as an image
            return None
        return (data, name) if nifti.is_nifti(data) and frames.parted(name)[1] is None else None

    def _of_volume(self, case: pd.DataFrame, data: bytes, name: str, errors: dict[Hashable, list[str]]) -> pd.DataFrame:
        """The answer to the one case of a volume, of the answers to its slices."""
        decoding, wrong = self.images[0].decoding, defaultdict[Hashable, list[str]](list)
        try:
            names = frames.named(name, nifti.count(data, name=name, decoding=decoding))
            self._read((data, names[0]))  # alone: the others then find the volume decoded
        except InputError as error:
            errors[case.index[0]].append(str(error))
            return pd.DataFrame()
        parts = []
        for start in range(0, len(names), BATCH):
            some = pd.Series([(data, one) for one in names[start : start + BATCH]], dtype=object)
            slices = case.loc[case.index.repeat(len(some))].reset_index(drop=True).assign(image=some)
            parts.append(self._answer(slices, wrong))
            if wrong:
                errors[case.index[0]] += next(iter(wrong.values()))
                return pd.DataFrame()
        answers = pd.concat(parts, ignore_index=True)
        ways = {column: "mean" for column in answers if str(column).startswith("share")}
        ways |= dict.fromkeys((self.delivery.classes[1], f"p_{self.delivery.classes[1]}"), "max")
        ways |= {ood.COLUMN: "min"}
        answer = answers.agg({column: how for column, how in ways.items() if column in answers}).to_frame().T
        mask = nifti.encode_mask(data, np.stack([*answers["mask"]]), name=name, decoding=decoding)
        return answer.infer_objects().assign(mask=[mask]).set_index(case.index)

    def _answer(self, cases: pd.DataFrame, errors: dict[Hashable, list[str]]) -> pd.DataFrame:
        """The answers to those of a few cases that can be read; what is wrong with the others comes into `errors`.

        `image` may also be a file's bytes and a name, and masks are (h, w) numbers of classes, at the image's size.
        """
        tables = []
        for variant, names in zip(self.delivery.variants, self.delivery.features, strict=True):
            if variant["kind"] == "table":
                values, wrong = encode(cases, variant, names)
                tables.append(values)
                for row, what in wrong:
                    errors[row].append(what)
        read: dict[Hashable, list[npt.NDArray]] = {row: [] for row in cases.index}
        sizes: dict[Hashable, Size] = {}
        images = cases.get("image", pd.Series(dtype=object))
        for row, got in zip(images.index, self.pool.map(self._read, images), strict=True):
            if isinstance(got, InputError):
                errors[row].append(str(got))
            else:
                sizes[row], read[row] = got
        sound = ~cases.index.isin([*errors])
        rows = cases.index[sound]
        if rows.empty:
            return pd.DataFrame()
        left = {
            "table": [values[sound] for values in tables],
            "images": [np.stack(of_one) for of_one in zip(*(read[row] for row in rows), strict=True)],
        }
        inputs = [left[variant["kind"]].pop(0) for variant in self.delivery.variants]
        outputs = predict(self.session, inputs, np.arange(len(rows)), len(rows), self.flips)
        numbers = np.logical_and.reduce(
            [np.isfinite(values).reshape(len(rows), -1).all(axis=1) for values in outputs.values()]
        )
        for row in rows[~numbers]:
            errors[row].append("the model's answer is not a number")
        rows, outputs = rows[numbers], {name: values[numbers] for name, values in outputs.items()}
        if rows.empty:
            return pd.DataFrame()
        shown = [sizes[row] for row in rows if row in sizes]
        match self.delivery.kind:
            case "classifier":
                answer = self._classified(outputs["output"])
            case "segmenter":
                answer = self._outlined(outputs["output"], shown)
            case "cascade":
                tempered = self._tempered(outputs["p"])[:, 1]
                answer = self._outlined(outputs["mask"], shown, outputs["p"])
                answer = answer.assign(**{f"p_{self.delivery.classes[1]}": tempered})
        if self.detector is not None:
            answer = answer.assign(**{ood.COLUMN: self.detector.score(outputs[ood.EMBEDDING])})
        if ood.EMBEDDING in outputs:
            answer = answer.assign(**{ood.EMBEDDING: [*outputs[ood.EMBEDDING]]})
        return answer.set_index(rows)

    def _read(self, value: Any) -> tuple[Size, list[npt.NDArray[np.uint8]]] | InputError:
        """The size of a case's image and what each of the model's inputs sees of it, or what is wrong with it."""
        try:
            settings = self.images[0].decoding
            given = isinstance(value, tuple)
            data, name = value if given else read_file(value, "image", self.max_pixels, settings, self.root)
            image = decode(data, name=name, max_pixels=self.max_pixels, decoding=settings)
        except InputError as error:
            return error
        return image.size, [to_array(image, settings) for settings in self.images]

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
        self, probabilities: npt.NDArray[np.float32], sizes: Sequence[Size], p: npt.NDArray | None = None
    ) -> pd.DataFrame:
        said = masks.said(probabilities)
        if p is not None:
            assert self.delivery.threshold is not None
            _, said = threshold.apply(p, said, self.delivery.threshold)
        marks = self.delivery.marks
        answer = {self.delivery.classes[1]: said.any(axis=(1, 2)), "share": (said > 0).mean(axis=(1, 2))}
        if len(marks) > 1:
            answer |= {f"share_{name}": (said == i).mean(axis=(1, 2)) for i, name in enumerate(marks, 1)}
        answer["mask"] = [_sized(mask, size, self.images[0].square) for mask, size in zip(said, sizes, strict=True)]
        return pd.DataFrame(answer)

    def _png(self, mask: npt.NDArray[np.uint8]) -> bytes:
        buffer = BytesIO()
        Image.fromarray(mask if len(self.delivery.marks) > 1 else 255 * mask).save(buffer, "PNG")
        return buffer.getvalue()


def _sized(mask: npt.NDArray[np.uint8], size: Size, square: bool) -> npt.NDArray[np.uint8]:
    """The mask (h, w) at the image's size; nothing where the model's square crop leaves the image out."""
    width, height = (min(size), min(size)) if square else size
    whole = Image.new("L", size)
    part = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    whole.paste(part, ((size[0] - width) // 2, (size[1] - height) // 2))
    return np.asarray(whole)
