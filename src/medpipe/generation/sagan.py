"""SAGAN (arXiv 1805.08318): a generator and a discriminator by class, with spectral norm and self-attention in both.

The shape is that of ResNet blocks (arXiv 1802.05957) which each double or halve the side, as many as bring it to 4 to
7. Attention stands at half the image's side: at 128 px after the fourth of the generator's five blocks and after the
discriminator's first.
"""

import keras
from keras import layers, ops

from medpipe.errors import SettingError
from medpipe.generation.adversaries import Adversaries
from medpipe.generation.layers import PACKAGE, ClassBatchNorm, SelfAttention, SpectralConv2D, SpectralDense
from medpipe.params import SaganRecipe

_WIDEST = 16  # times the narrowest


def learner(settings: SaganRecipe, side: int, classes: int) -> Adversaries:
    """What trains, and within it the generator. Raises SettingError as `blocks_of` does."""
    network, rates = settings.network, (settings.lr.generator, settings.lr.discriminator)
    generators = [
        build_generator(side, classes, network.noise, network.channels)
        for _ in range(1 + (settings.average is not None))
    ]
    discriminator = build_discriminator(side, classes, network.channels)
    average = None if settings.average is None else generators[1]
    return Adversaries(generators[0], discriminator, average, rates, settings.betas, settings.diffaugment)


def blocks_of(side: int) -> int:
    """How often `side` is halved. Raises SettingError for one that cannot be."""
    blocks = max(0, (side // 4).bit_length() - 1)
    if blocks < 2 or side % 2**blocks:
        raise SettingError(f"inputs: images of {side} pixels; a side must be 4 to 7 doubled at least twice")
    return blocks


def build_generator(side: int, classes: int, noise: int, channels: int) -> keras.Model:
    """Noise (b, noise), from a standard normal, and one-hot classes (b, classes) -> images (b, side, side, 3), [-1, 1].

    Between two classes lie the shares of both.
    """
    blocks = blocks_of(side)
    bottom = side // 2**blocks
    z, of = keras.Input((noise,), name="noise"), keras.Input((classes,), name="class")
    width = channels * min(_WIDEST, 2**blocks)
    x = SpectralDense(bottom * bottom * width)(z)
    x = layers.Reshape((bottom, bottom, width))(x)
    for block in range(blocks):
        filters = channels * min(_WIDEST, 2 ** (blocks - 1 - block))
        y = layers.ReLU()(ClassBatchNorm()([x, of]))
        y = SpectralConv2D(filters, 3)(layers.UpSampling2D()(y))
        y = layers.ReLU()(ClassBatchNorm()([y, of]))
        y = SpectralConv2D(filters, 3)(y)
        # A 1x1 convolution and doubling commute: at half the side it takes a quarter of the time.
        x = layers.Add()([y, layers.UpSampling2D()(SpectralConv2D(filters, 1)(x))])
        if block == blocks - 2:
            x = SelfAttention()(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-4)(x))
    return keras.Model([z, of], layers.Activation("tanh")(SpectralConv2D(3, 3)(x)), name="generator")


def build_discriminator(side: int, classes: int, channels: int) -> keras.Model:
    """Images (b, side, side, 3) in [-1, 1] and one-hot classes (b, classes) -> scores (b,), higher for what looks real.

    The class enters by projection (arXiv 1802.05637).
    """
    blocks = blocks_of(side)
    images, of = keras.Input((side, side, 3), name="image"), keras.Input((classes,), name="class")
    x = images
    for block in range(blocks + 1):
        filters = channels * min(_WIDEST, 2**block)
        halved = layers.AveragePooling2D(2) if block < blocks else layers.Identity()
        y = layers.ReLU()(x) if block else x
        y = SpectralConv2D(filters, 3)(y)
        y = SpectralConv2D(filters, 3)(layers.ReLU()(y))
        same = x if block == blocks and x.shape[-1] == filters else SpectralConv2D(filters, 1)(halved(x))
        x = layers.Add()([halved(y), same])
        if block == 0:
            x = SelfAttention()(x)
    x = Sum()(layers.ReLU()(x))
    projected = layers.Dot(1)([x, SpectralDense(x.shape[-1], use_bias=False)(of)])
    score = layers.Add()([SpectralDense(1)(x), projected])
    return keras.Model([images, of], layers.Reshape(())(score), name="discriminator")


@keras.saving.register_keras_serializable(PACKAGE)
class Sum(layers.Layer):
    """(b, h, w, c) -> (b, c), summed over the places."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return ops.sum(inputs, axis=(1, 2))
