"""The U-Net of a diffusion model: residual blocks that know the noise's level and the class (arXiv 2006.11239), with
scale and shift by both and attention in heads (arXiv 2105.05233).

The side is halved from each level to the next. A level has as many blocks on the way up as on the way down, and each
of those takes in what its counterpart left. What the network is shown also reaches its output by a straight way, times
a factor by level and class: noise that it is to give back need not go through the blocks.
"""

import math
from typing import Any

import keras
from keras import layers, ops

from medpipe.errors import SettingError
from medpipe.generation.layers import PACKAGE
from medpipe.params import Unet

_PATCH = 2  # pixels a side that the network takes for one place: a quarter of the time
_HEAD = 64  # channels of an attention's head, at least
_GROUPS, _GROUP = 32, 4  # at most so many groups are normalised, of at least so many channels
_SLOWEST = 10_000  # times the fastest, of the frequencies that tell the noise's level


def build(settings: Unet, side: int, classes: int) -> keras.Model:
    """Images (b, side, side, 3), the noise's level as a number (b,) around 0, and one-hot classes (b, classes) -> (b,
    side, side, 3), at first zeros. Raises SettingError for a side that cannot be halved so often.
    """
    halvings = len(settings.multipliers) - 1
    if side % (whole := _PATCH * 2**halvings):
        raise SettingError(
            f"network.multipliers: {halvings + 1} levels want a side of a multiple of {whole} pixels, is {side}"
        )
    images, level = keras.Input((side, side, 3), name="image"), keras.Input((), name="level")
    of = keras.Input((classes,), name="class")
    width = 4 * settings.channels
    known = layers.Dense(width, activation="silu")(Waves(settings.channels)(level))
    embedding = layers.Dense(width, use_bias=False, kernel_initializer=keras.initializers.RandomNormal(stddev=1))
    known = layers.Add()([layers.Dense(width)(known), embedding(of)])
    known = layers.Activation("silu")(known)

    def blocks(x: Any, place: int, left: list[Any]) -> tuple[Any, list[Any]]:
        """Through a level's blocks; `left`, where there is some, is what they take in, the last first."""
        found = []
        for _ in range(settings.blocks):
            x = layers.Concatenate()([x, left.pop()]) if left else x
            x = _block(x, known, settings.channels * settings.multipliers[place])
            if place > halvings - settings.attention:
                x = Attention()(x)
            found.append(x)
        return x, found

    x, kept = layers.Conv2D(settings.channels, 2 * _PATCH, _PATCH, padding="same")(images), []
    for place in range(halvings + 1):
        x, found = blocks(layers.AveragePooling2D(2)(x) if place else x, place, [])
        kept.append(found)
    for place in reversed(range(halvings + 1)):
        x, _ = blocks(x, place, kept[place])
        x = layers.UpSampling2D()(x) if place else x
    x = layers.Activation("silu")(_norm(x)(x))
    x = layers.Conv2DTranspose(3, 2 * _PATCH, _PATCH, padding="same", kernel_initializer="zeros")(x)
    straight = layers.Reshape((1, 1, 3))(layers.Dense(3, kernel_initializer="zeros")(known))
    x = layers.Add()([x, layers.Multiply()([images, straight])])
    return keras.Model([images, level, of], x, name="unet")


def _block(x: Any, known: Any, channels: int) -> Any:
    y = layers.Activation("silu")(_norm(x)(x))
    y = layers.Conv2D(channels, 3, padding="same")(y)
    scale, shift = (layers.Reshape((1, 1, channels))(layers.Dense(channels)(known)) for _ in range(2))
    y = _norm(y)(y)
    y = layers.Activation("silu")(layers.Add()([y, layers.Multiply()([y, scale]), shift]))
    y = layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros")(y)
    return layers.Add()([x if x.shape[-1] == channels else layers.Conv2D(channels, 1)(x), y])


def _norm(x: Any) -> keras.Layer:
    return layers.GroupNormalization(math.gcd(_GROUPS, x.shape[-1] // _GROUP), epsilon=1e-5)


@keras.saving.register_keras_serializable(PACKAGE)
class Waves(layers.Layer):
    """(b,) -> (b, channels): cosines and sines at frequencies from 1 down to 1 / 10,000."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, inputs: Any) -> Any:
        half = self.channels // 2
        angles = inputs[:, None] * ops.power(1 / _SLOWEST, ops.arange(half, dtype="float32") / max(1, half - 1))
        return ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable(PACKAGE)
class Attention(layers.Layer):
    """(b, h, w, c) -> the same, with what every place takes from every other, at first nothing."""

    def build(self, shape: tuple[int, ...]) -> None:
        channels = shape[-1]
        self.heads = math.gcd(channels, max(1, channels // _HEAD))
        self.norm = _norm(keras.KerasTensor(shape))
        self.inward, self.outward = layers.Dense(3 * channels), layers.Dense(channels, kernel_initializer="zeros")
        for layer in (self.norm, self.inward, self.outward):
            layer.build(shape)

    def call(self, inputs: Any) -> Any:
        height, width, channels = inputs.shape[1:]
        split = (-1, height * width, self.heads, 3, channels // self.heads)
        query, key, value = ops.unstack(ops.reshape(self.inward(self.norm(inputs)), split), axis=3)
        weights = ops.softmax(ops.einsum("bqhc,bkhc->bhqk", query, key) / math.sqrt(channels // self.heads), axis=-1)
        taken = ops.reshape(ops.einsum("bhqk,bkhc->bqhc", weights, value), (-1, height, width, channels))
        return inputs + self.outward(taken)
