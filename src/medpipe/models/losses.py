"""Losses. Targets are one-hot float32 (b, classes), or (b, 1), or masks (b, h, w, 1); predictions are probabilities."""

from typing import Any, Literal

import keras
from keras import ops

from medpipe import params


def build_loss(settings: params.Loss) -> keras.losses.Loss:
    """The loss of a recipe. It is computed in float32, whatever the predictions' type, and respects sample weights.

    Focal loss: arXiv 1708.02002, over a softmax: -alpha (1 - p)^gamma log p of the true class's probability p.
    """
    match settings:
        case params.CrossEntropy(name="crossentropy"):
            return keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
        case params.CrossEntropy():
            return keras.losses.BinaryCrossentropy(label_smoothing=settings.label_smoothing)
        case params.Focal():
            return keras.losses.CategoricalFocalCrossentropy(alpha=settings.alpha, gamma=settings.gamma)
        case params.FocalTversky():
            return FocalTversky(alpha=settings.alpha, gamma=settings.gamma, sums=settings.sums)


@keras.saving.register_keras_serializable("medpipe")
class FocalTversky(keras.losses.Loss):
    """(1 - TI)^gamma, where TI = (TP + 1) / (TP + alpha FN + (1 - alpha) FP + 1).

    TP, FN and FP are sums of probabilities over all pixels of the batch, as in the authors' code. An image without the
    class then counts by its false pixels. `sums: image` takes the sums, and the loss, of each image: where the class is
    absent, TI and its gradient are close to 0 for any prediction, so that a network does not learn to leave an
    image alone. Of several classes that masks mark, the loss is the mean over them. Truth and predictions:
    `medpipe.models.masks`.

    The batch is what one step of training reads, over all devices that share it; images of weight 0, which fill a
    batch up, are no part of it. The value depends on which images a batch brings together: one in which no image has
    the class has hardly a gradient, so batches should be large enough for the class, and shuffled.

    arXiv 1810.07842, which writes the exponent as 1 / gamma, with 4/3 as its best: here that is gamma = 0.75. alpha
    weighs missed pixels; at alpha = 0.5 TI is Dice.
    """

    def __init__(
        self,
        alpha: float,
        gamma: float,
        sums: Literal["batch", "image"],
        reduction: str = "sum_over_batch_size",
        name: str = "focal_tversky",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = alpha
        self.gamma = gamma
        self.sums = sums

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is not None:  # nothing marked and nothing predicted adds nothing to any sum
            counted = ops.reshape(ops.cast(ops.convert_to_tensor(sample_weight) > 0, self.dtype), (-1, 1, 1, 1))
            y_true, y_pred = (counted * ops.cast(y, self.dtype) for y in (y_true, y_pred))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = one_hot(y_true, y_pred.shape[-1])
        y_pred = y_pred[..., -y_true.shape[-1] :]  # without background
        axes = (1, 2) if self.sums == "image" else (0, 1, 2)
        hit = ops.sum(y_true * y_pred, axis=axes)
        missed = ops.sum(y_true * (1 - y_pred), axis=axes)
        false = ops.sum((1 - y_true) * y_pred, axis=axes)
        index = (hit + 1) / (hit + self.alpha * missed + (1 - self.alpha) * false + 1)
        # Below 1 the power's slope at a perfect prediction is infinite.
        return ops.mean(ops.power(ops.maximum(1 - index, keras.config.epsilon()), self.gamma), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"alpha": self.alpha, "gamma": self.gamma, "sums": self.sums}


def one_hot(y: Any, outputs: int) -> Any:
    """Truth, (b, h, w, k) of what is marked, beside an output of so many channels; k is 1 where that is one."""
    return y if outputs == 1 else ops.one_hot(ops.cast(y[..., 0], "int32"), outputs, dtype="float32")[..., 1:]
