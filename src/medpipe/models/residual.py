"""The residual block that the brain's classifier and segmenter are made of."""

from keras import KerasTensor, layers

from medpipe.models.embedding import MOMENTUM


def residual_block(x: KerasTensor, filters: int) -> KerasTensor:
    """(b, h, w, c) -> (b, h, w, filters): a 1x1 and a 3x3 convolution beside a 1x1 shortcut, each normalised.

    After He et al., arXiv 1512.03385, with a projection on every shortcut; initial weights by arXiv 1502.01852.
    """
    shortcut = layers.Conv2D(filters, 1, kernel_initializer="he_normal")(x)
    shortcut = layers.BatchNormalization(momentum=MOMENTUM)(shortcut)
    x = layers.Conv2D(filters, 1, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    return layers.ReLU()(layers.Add()([x, shortcut]))
