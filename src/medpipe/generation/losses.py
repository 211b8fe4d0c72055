"""The hinge loss of a GAN (arXiv 1705.02894)."""

from typing import Any

from keras import ops


def discriminator_loss(real: Any, fake: Any) -> Any:
    """Of scores (b,) of real and of generated images: the mean of max(0, 1 - real) and that of max(0, 1 + fake)."""
    return ops.mean(ops.relu(1 - real)) + ops.mean(ops.relu(1 + fake))


def generator_loss(fake: Any) -> Any:
    """Of scores (b,) of generated images: minus their mean."""
    return -ops.mean(fake)
