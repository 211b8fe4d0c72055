"""Metrics to follow while training. What is reported comes from the prediction tables instead."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("medpipe")
def dice(y_true: Any, y_pred: Any) -> Any:
    """Dice of each image's mask at 0.5: (b, h, w, 1) twice -> (b,). Two empty masks agree: 1."""
    axes = tuple(range(1, len(y_pred.shape)))
    truth = ops.cast(y_true, "float32")
    predicted = ops.cast(y_pred >= 0.5, "float32")
    both = 2 * ops.sum(truth * predicted, axis=axes)
    total = ops.sum(truth, axis=axes) + ops.sum(predicted, axis=axes)
    return ops.where(total > 0, both / ops.maximum(total, 1), 1.0)
