"""The layers of a SAGAN (arXiv 1805.08318): spectral norm, self-attention, batch normalisation by class."""

from typing import Any

import keras
from keras import ops

PACKAGE = "medpipe"
_TINY = 1e-12


def normalise(vector: Any) -> Any:
    """(n,) of length 1."""
    return vector / ops.sqrt(ops.sum(ops.square(vector)) + _TINY)


class _Spectral(keras.layers.Layer):
    """A kernel that is divided by its largest singular value, as (inputs, outputs) matrix (arXiv 1802.05957).

    The value comes of one power iteration a training step, from the left singular vector that the last one reached;
    the gradient flows through the division, not through the vectors. In inference the vector stays as it is.
    """

    def _add_kernel(self, shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(shape=shape, initializer="orthogonal", name="kernel")
        self.u = self.add_weight(shape=(shape[-1],), initializer="random_normal", trainable=False, name="u")

    def normalised(self, training: bool) -> Any:
        """The kernel over its spectral norm; in training the vector moves on by an iteration."""
        matrix = ops.reshape(self.kernel, (-1, self.kernel.shape[-1]))
        fixed = ops.stop_gradient(matrix)
        u = normalise(ops.convert_to_tensor(self.u))
        v = normalise(ops.matmul(fixed, u))
        if training:
            u = normalise(ops.matmul(v, fixed))
            self.u.assign(u)
        sigma = ops.sum(ops.matmul(v, matrix) * u)
        return self.kernel / sigma


@keras.saving.register_keras_serializable(PACKAGE)
class SpectralConv2D(_Spectral):
    """(b, h, w, c) -> (b, h, w, filters), stride 1, padded with zeros."""

    def __init__(self, filters: int, side: int, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.side, self.use_bias = filters, side, use_bias

    def build(self, shape: tuple[int, ...]) -> None:
        self._add_kernel((self.side, self.side, shape[-1], self.filters))
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, inputs: Any, training: bool = False) -> Any:
        outputs = ops.conv(inputs, self.normalised(training), padding="same")
        return outputs if self.bias is None else outputs + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "side": self.side, "use_bias": self.use_bias}


@keras.saving.register_keras_serializable(PACKAGE)
class SpectralDense(_Spectral):
    """(b, n) -> (b, units); of shares of classes and without a bias an embedding."""

    def __init__(self, units: int, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.use_bias = units, use_bias

    def build(self, shape: tuple[int, ...]) -> None:
        self._add_kernel((shape[-1], self.units))
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, inputs: Any, training: bool = False) -> Any:
        outputs = ops.matmul(inputs, self.normalised(training))
        return outputs if self.bias is None else outputs + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias}


@keras.saving.register_keras_serializable(PACKAGE)
class SelfAttention(keras.layers.Layer):
    """(b, h, w, c) -> the same, with what every place takes from every other, times a factor that begins at 0.

    Queries and keys have c/8 channels, values c/2; keys and values are halved in height and width by their maxima.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool = keras.layers.MaxPooling2D(2)

    def build(self, shape: tuple[int, ...]) -> None:
        channels = shape[-1]
        parts = {"query": channels // 8, "key": channels // 8, "value": channels // 2, "out": channels}
        for name, filters in parts.items():
            convolution = SpectralConv2D(max(1, filters), 1, use_bias=False, name=name)
            convolution.build((*shape[:-1], max(1, channels // 2) if name == "out" else channels))
            setattr(self, name, convolution)
        self.factor = self.add_weight(shape=(), initializer="zeros", name="factor")

    def call(self, inputs: Any, training: bool = False) -> Any:
        height, width = inputs.shape[1:3]
        query = self.query(inputs, training=training)
        key = self.pool(self.key(inputs, training=training))
        value = self.pool(self.value(inputs, training=training))
        query, key, value = (ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3])) for x in (query, key, value))
        weights = ops.softmax(ops.einsum("bqc,bkc->bqk", query, key), axis=-1)
        taken = ops.reshape(ops.einsum("bqk,bkc->bqc", weights, value), (-1, height, width, value.shape[-1]))
        return inputs + self.factor * self.out(taken, training=training)


@keras.saving.register_keras_serializable(PACKAGE)
class ClassBatchNorm(keras.layers.Layer):
    """[(b, h, w, c), (b, classes)] -> (b, h, w, c): batch normalisation with scale and shift of the class.

    Classes are one-hot, or shares of several: then scale and shift lie between theirs.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-4, center=False, scale=False)

    def build(self, shapes: list[tuple[int, ...]]) -> None:
        self.norm.build(shapes[0])
        size = (shapes[1][-1], shapes[0][-1])
        self.gamma = self.add_weight(shape=size, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=size, initializer="zeros", name="beta")

    def call(self, inputs: list[Any], training: bool = False) -> Any:
        images, classes = inputs
        gamma, beta = (ops.matmul(classes, table)[:, None, None, :] for table in (self.gamma, self.beta))
        return gamma * self.norm(images, training=training) + beta

    def compute_output_shape(self, shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
        return shapes[0]
