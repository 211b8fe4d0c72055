"""MixUp (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of whole batches."""

import cv2
import numpy as np
import numpy.typing as npt

from medpipe.params import Mixing

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def mix(
    images: Images, targets: Floats, weights: Floats | None, settings: Mixing, seed: list[int]
) -> tuple[Images, Floats, Floats | None]:
    """Each image with another one of its batch, by MixUp or CutMix; at random by which where both are set.

    - images (b, h, w, 3) uint8; targets (b, classes) or (b, 1); weights (b,) or None
    - returns the three mixed; a row of targets still adds up to what it did

    With class weights the loss is to be share * w1 * loss(t1) + (1 - share) * w2 * loss(t2), which for a loss linear
    in its target is that of the weight and the target returned.
    """
    rng = np.random.default_rng(seed)
    kinds = [(kind, alpha) for kind, alpha in ((mixup, settings.mixup), (cutmix, settings.cutmix)) if alpha is not None]
    if not kinds:
        return images, targets, weights
    kind, alpha = kinds[rng.integers(len(kinds))]
    other = rng.permutation(len(images))
    images, share = kind(images, other, float(rng.beta(alpha, alpha)), rng)
    if weights is None:
        return images, _blend(targets, targets[other], share), None
    mixed = _blend(weights, weights[other], share)
    weighted = targets * weights[:, None]
    return images, _blend(weighted, weighted[other], share) / mixed[:, None], mixed


def mixup(images: Images, other: npt.NDArray, share: float, rng: np.random.Generator) -> tuple[Images, float]:
    """share * image + (1 - share) * other image, rounded to whole values."""
    flat = images.reshape(len(images), -1)
    mixed: Images = np.asarray(cv2.addWeighted(flat, share, flat[other], 1 - share, 0), np.uint8)
    return mixed.reshape(images.shape), share


def cutmix(images: Images, other: npt.NDArray, share: float, rng: np.random.Generator) -> tuple[Images, float]:
    """A box of the other image, pasted in its place; with the share of the image that is left.

    The box has the image's proportions and an area of 1 - share before it is cut off at the edges.
    """
    height, width = images.shape[1:3]
    side = np.sqrt(1 - share) / 2
    y, x = rng.integers(height), rng.integers(width)
    top, bottom = np.clip([round(y - side * height), round(y + side * height)], 0, height)
    left, right = np.clip([round(x - side * width), round(x + side * width)], 0, width)
    out = images.copy()
    out[:, top:bottom, left:right] = images[other, top:bottom, left:right]
    return out, 1 - float((bottom - top) * (right - left)) / (height * width)


def _blend(one: Floats, two: Floats, share: float) -> Floats:
    return np.float32(share) * one + np.float32(1 - share) * two
