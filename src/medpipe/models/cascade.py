"""Classify, then segment: the segmenter's mask counts only where the classifier finds a tumour."""

import math

import keras
import numpy as np

from medpipe.errors import InputError


def compose(classifier: keras.Model, segmenter: keras.Model) -> keras.Model:
    """One model: (b, h, w, 3) float32 in [0, 255] -> {"p": (b, 1), "mask": the segmenter's output}, probabilities.

    It shares the members' weights. Raises InputError where they read images of different size.
    """
    shapes = [tuple(member.input_shape[1:]) for member in (classifier, segmenter)]
    if shapes[0] != shapes[1]:
        raise InputError(f"cascade: the classifier reads {shapes[0]}, the segmenter {shapes[1]}; prepare them alike")
    inputs = keras.Input(shapes[0], name="image")
    parts = {"p": classifier, "mask": segmenter}
    # Names of their own: both models may have the same.
    outputs = {key: keras.Model(part.inputs[0], part.outputs[0], name=key)(inputs) for key, part in parts.items()}
    return keras.Model(inputs, outputs, name="cascade")


def apply(p: np.ndarray, mask: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The cascade's verdict: (tumour (b,) bool, mask of the shape and type given).

    `p` is the classifier's probability, (b,) or (b, 1); `mask` the segmenter's mask, (b, h, w) or (b, h, w, 1) in
    {0, ..., k}. Below the threshold the mask is emptied; an empty mask counts as no tumour.
    """
    gate = p.reshape(-1) >= threshold
    kept = mask * gate.reshape(-1, *[1] * (mask.ndim - 1)).astype(mask.dtype)
    return kept.any(axis=tuple(range(1, mask.ndim))), kept


def choose_threshold(p: np.ndarray, truth: np.ndarray, sensitivity: float) -> float:
    """The highest threshold at which at least that share of the slices with tumour has p >= threshold.

    `p` (n,) or (n, 1) and `truth` (n,) in {0, 1} are of validation slices. Raises InputError where none has tumour.
    """
    found = np.sort(p.reshape(-1)[truth.reshape(-1).astype(bool)])[::-1]
    if not len(found):
        raise InputError("cascade: no validation slice has tumour, so no threshold can be chosen; change the split")
    # Rounded first: 0.07 * 100 is 7.000000000000001.
    return float(found[math.ceil(round(sensitivity * len(found), 9)) - 1])
