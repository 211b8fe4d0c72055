"""What the pixels of training images say: channel statistics, masks, and pictures to look at."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from tqdm import tqdm

from medpipe.data.archive import Archive
from medpipe.data.images import to_array
from medpipe.data.masks import Mask, marked
from medpipe.data.prepare import read_image, read_mask
from medpipe.params import Declaration, Decoding, ImagesVariant
from medpipe.training.selection import thin

BINS = 64  # of the 256 values a channel
Pixels = npt.NDArray[np.uint8]
SHOWN = 220  # pixels of a picture's longer side: what a grid shows of it
EQUALISED = 256  # pixels, of the square in which equalisation is shown


class Picture(NamedTuple):
    """A training image as a page shows it."""

    id: str
    label: str
    image: Pixels  # (h, w, 3)
    mask: Pixels | None  # (h, w) in {0, ..., k}


class Look(NamedTuple):
    """What a sample of images has shown, a row or an entry an image."""

    labels: list[str]
    mean: npt.NDArray[np.float64]  # (n, 3) in [0, 1]
    square: npt.NDArray[np.float64]  # (n, 3), mean of squares
    histogram: npt.NDArray[np.int64]  # (3, BINS) pixels of all images
    grey: npt.NDArray[np.bool_]  # (n,) whether the three channels are the same
    area: npt.NDArray[np.float64] | None  # (n, k) share of pixels that the mask marks; None where there are no masks


def sample(train: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most `most` training rows, each class by its share."""
    rows = thin(np.arange(len(train)), pd.factorize(train["label"])[0].astype(np.int64), most, seed)
    return train.iloc[rows]


def examples(train: pd.DataFrame, classes: Sequence[str], each: int, seed: int) -> pd.DataFrame:
    """At most `each` rows of each class in random order, from as many lesions or patients as there are."""
    shuffled = train.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("group").cumcount()  # of rows of one group: first, second, ...
    shuffled = shuffled.loc[turn.sort_values(kind="stable").index]
    return pd.concat([shuffled[shuffled["label"] == label].head(each) for label in classes])


def look(images: Iterable[tuple[str, Pixels, Pixels | None]], marks: int) -> Look:
    """Statistics of images (label, (h, w, 3) uint8, mask or None), one at a time: memory does not grow with them.

    Masks mark as many classes as `marks` says.
    """
    labels, means, squares, greys, areas = [], [], [], [], []
    histogram = np.zeros((3, BINS), np.int64)
    for label, image, mask in images:
        counts = np.stack([np.bincount(image[..., c].ravel(), minlength=256) for c in range(3)])
        shares, values = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
        labels.append(label)
        means.append(shares @ values)
        squares.append(shares @ values**2)
        greys.append(bool((image == image[..., :1]).all()))
        histogram += counts.reshape(3, BINS, -1).sum(axis=2)
        if mask is not None:
            areas.append(np.bincount(mask.ravel(), minlength=marks + 1)[1:] / mask.size)
    return Look(
        labels, np.array(means), np.array(squares), histogram, np.array(greys), np.array(areas) if areas else None
    )


def channel_facts(found: Look, classes: Sequence[str]) -> dict[str, Any]:
    """Mean and deviation of each channel in [0, 1], over all pixels, an image counting as much as another: of all
    images, and {class: ...} of each class that has one. `grey`: images whose channels are the same."""
    labels = np.array(found.labels)
    of = {label: _channels(found, labels == label) for label in classes if (labels == label).any()}
    return {**_channels(found, np.ones(len(labels), bool)), "grey": int(found.grey.sum()), "classes": of}


def _channels(found: Look, rows: npt.NDArray[np.bool_]) -> dict[str, Any]:
    mean = found.mean[rows].mean(axis=0)
    deviation = np.sqrt(np.maximum(found.square[rows].mean(axis=0) - mean**2, 0))
    return {"images": int(rows.sum()), "mean": mean.tolist(), "deviation": deviation.tolist()}


def mask_facts(found: Look, names: Sequence[str]) -> dict[str, Any] | None:
    """How many images have a mask that marks something, and the share of their pixels that it marks: quantiles.

    `classes`: the same of each of several `names` that masks mark.
    """
    if found.area is None:
        return None
    of = {name: _areas(found.area[:, i]) for i, name in enumerate(names)} if len(names) > 1 else {}
    return {"images": len(found.area), **_areas(found.area.sum(axis=1)), "classes": of}


def _areas(shares: npt.NDArray[np.float64]) -> dict[str, Any]:
    there = shares[shares > 0]
    quantiles = np.quantile(there, [0, 0.25, 0.5, 0.75, 1]).tolist() if len(there) else [None] * 5
    return {"marked": len(there), "area": dict(zip(("min", "q1", "median", "q3", "max"), quantiles, strict=True))}


def read(
    archive: Archive, rows: pd.DataFrame, max_pixels: int, decoding: Decoding
) -> Iterator[tuple[str, str, Image.Image, Mask | None]]:
    """(id, label, image, mask or None) of each row. Raises InputError for a file that has changed since ingest."""
    columns = ["id", "label", "path", "sha256", "mask_path", "mask_sha256"]
    for id_, label, path, sha256, mask_path, mask_sha256 in rows[columns].itertuples(index=False, name=None):
        mask = read_mask(archive, mask_path, mask_sha256, max_pixels, decoding) if mask_path else None
        yield id_, label, read_image(archive, path, sha256, max_pixels, decoding), mask


def arrays(
    archive: Archive, rows: pd.DataFrame, max_pixels: int, task: Declaration
) -> Iterator[tuple[str, Pixels, Pixels | None]]:
    """(label, image (h, w, 3), mask (h, w) in {0, ..., k} or None) of each row, in full size."""
    images = read(archive, rows, max_pixels, task.decoding)
    for _, label, image, mask in tqdm(images, "explore", len(rows), disable=None):
        yield label, np.asarray(image), None if mask is None else marked(mask.values, task.marks or {})


def pictures(archive: Archive, rows: pd.DataFrame, max_pixels: int, task: Declaration) -> list[Picture]:
    """The images of the rows, made small."""
    found = []
    for id_, label, image, mask in read(archive, rows, max_pixels, task.decoding):
        scale = min(1, SHOWN / max(image.size))
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        places = None
        if mask is not None:
            whole = Image.fromarray(marked(mask.values, task.marks or {}))
            places = np.asarray(whole.resize(size, Image.Resampling.NEAREST))
        found.append(Picture(id_, label, small, places))
    return found


def equalised(
    archive: Archive, rows: pd.DataFrame, max_pixels: int, decoding: Decoding
) -> list[tuple[Picture, Picture]]:
    """Each image before and after equalisation, resized as prepare does it."""
    plain, equal = (
        ImagesVariant.model_construct(kind="images", square=False, sizes=(EQUALISED,), equalise=equalise)
        for equalise in (False, True)
    )
    return [
        (Picture(id_, label, to_array(image, plain), None), Picture(id_, label, to_array(image, equal), None))
        for id_, label, image, _ in read(archive, rows, max_pixels, decoding)
    ]
