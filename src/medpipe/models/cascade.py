"""Classify, then segment: the segmenter's mask counts only where the classifier finds a tumour."""

import keras

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
