"""Metrics to follow while training. What is reported comes from the prediction tables instead."""

from typing import Any

import keras
from keras import ops

from medpipe.models.losses import one_hot


@keras.saving.register_keras_serializable("medpipe")
def dice(y_true: Any, y_pred: Any) -> Any:
    """Dice of each image's mask, the mean over what is marked: -> (b,). Two empty masks agree: 1.

    Truth and predictions: `medpipe.models.masks`; one probability marks from 0.5 on.
    """
    outputs = y_pred.shape[-1]
    truth = ops.cast(one_hot(y_true, outputs), "float32")
    said = y_pred >= 0.5 if outputs == 1 else one_hot(ops.argmax(y_pred, axis=-1, keepdims=True), outputs)
    predicted = ops.cast(said, "float32")
    both = 2 * ops.sum(truth * predicted, axis=(1, 2))
    total = ops.sum(truth, axis=(1, 2)) + ops.sum(predicted, axis=(1, 2))
    return ops.mean(ops.where(total > 0, both / ops.maximum(total, 1), 1.0), axis=-1)


@keras.saving.register_keras_serializable("medpipe")
class RowMean(keras.metrics.MeanMetricWrapper):
    """The mean of a function of truth and prediction over rows. They count alike, but for those of weight 0."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight > 0, "float32")
        super().update_state(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable("medpipe")
class MacroF1(keras.metrics.Metric):
    """The mean F1 of the classes that occur, over all rows since the last reset.

    Truth and prediction are (b, classes), the largest value is the class; or (b, 1), the second of two from 0.5 on.
    """

    def __init__(self, classes: int, name: str = "macro_f1", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.counts = self.add_variable((classes, classes), initializer="zeros", name="counts")  # truth in rows

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Rows count alike, but for those of weight 0, which only fill a batch up."""
        truth, predicted = (ops.one_hot(_classes(y), self.classes, dtype="float32") for y in (y_true, y_pred))
        if sample_weight is not None:
            weight = ops.cast(ops.reshape(sample_weight, (-1, 1)) > 0, "float32")
            truth = truth * weight
        self.counts.assign_add(ops.matmul(ops.transpose(truth), predicted))

    def result(self) -> Any:
        counts = ops.convert_to_tensor(self.counts)
        both, support, predicted = ops.diagonal(counts), ops.sum(counts, axis=1), ops.sum(counts, axis=0)
        f1 = 2 * both / ops.maximum(support + predicted, 1)
        return ops.sum(f1) / ops.maximum(ops.sum(ops.cast(support > 0, "float32")), 1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"classes": self.classes}


def _classes(y: Any) -> Any:
    """(b,) class numbers."""
    return ops.cast(y[:, 0] >= 0.5, "int32") if y.shape[-1] == 1 else ops.argmax(y, axis=-1)
