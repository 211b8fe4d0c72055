"""How a model is trained: its phases, rates and optimizer, taken from a recipe or from a fusion's settings."""

import math
from dataclasses import dataclass, replace

import keras

from medpipe import params


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs over which the same layers train.

    `unfreeze` is a backbone's: how many of its last layers (0: none), `all`, or from which name on; None for models
    that have no backbone. `freeze_norm`: whether the backbone's batch normalisation stays frozen throughout.
    """

    name: str
    epochs: int
    lr: float
    decay: params.Decay | None = None
    early_stopping: params.EarlyStopping | None = None
    unfreeze: int | str | None = None
    freeze_norm: bool = False

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch from 0: constant for `decay.after` epochs, then times exp(-rate) each."""
        if self.decay is None:
            return self.lr
        return self.lr * math.exp(-self.decay.rate * max(0, epoch + 1 - self.decay.after))


@dataclass(frozen=True)
class Plan:
    """`keep_last`: the last epoch's weights are delivered, not those of the best one by validation rows."""

    phases: tuple[Phase, ...]
    loss: params.Loss
    optimizer: params.Optimizer
    batch: int
    class_weights: str | dict[str, float] | None = None
    weights_from: int = 1
    sampling: params.Sampling | None = None
    augmentation: params.Augmentation | None = None
    mixing: params.Mixing | None = None
    keep_last: bool = False


def plan(settings: params.Recipe | params.DenseFusion) -> Plan:
    """The plan of a model's recipe, or of a fusion's head: cross-entropy and Adam on features."""
    if isinstance(settings, params.DenseFusion):
        return Plan(
            phases=(Phase("main", settings.epochs, settings.lr, early_stopping=settings.early_stopping),),
            loss=params.CrossEntropy(name="crossentropy", label_smoothing=0.0),
            optimizer=params.Optimizer(name="adam", weight_decay=0.0, clip_norm=None, epsilon=1e-7),
            batch=settings.batch,
        )
    main = Phase("main", settings.epochs, settings.lr, settings.decay, settings.early_stopping)
    if isinstance(settings, params.BackboneRecipe):
        main = replace(main, unfreeze=settings.network.unfreeze, freeze_norm=settings.network.freeze_norm)
    phases = [main]
    if settings.warmup is not None:
        frozen = None if main.unfreeze is None else 0
        phases.insert(0, Phase("warmup", settings.warmup.epochs, settings.warmup.lr, unfreeze=frozen))
    return Plan(
        phases=tuple(phases),
        loss=settings.loss,
        optimizer=settings.optimizer,
        batch=settings.batch,
        class_weights=settings.class_weights,
        weights_from=settings.weights_from,
        sampling=settings.sampling,
        augmentation=settings.augmentation,
        mixing=settings.mixing,
        keep_last=settings.folds is not None and settings.early_stopping is None,
    )


def build_optimizer(
    settings: params.Optimizer, lr: float, trainable: list[keras.Variable]
) -> keras.optimizers.Optimizer:
    """The optimizer over `trainable`, with decoupled weight decay (arXiv 1711.05101) of kernels alone.

    What has one axis or none is spared: biases, and the scales and shifts of normalisation. Gradients are clipped by
    their norm over all variables.
    """
    common = {"learning_rate": lr, "weight_decay": settings.weight_decay, "global_clipnorm": settings.clip_norm}
    match settings.name:
        case "sgd":
            optimizer = keras.optimizers.SGD(**common)
        case "adam":
            optimizer = keras.optimizers.Adam(epsilon=settings.epsilon, **common)
        case "adamw":
            optimizer = keras.optimizers.AdamW(epsilon=settings.epsilon, **common)
    optimizer.exclude_from_weight_decay(var_list=[variable for variable in trainable if len(variable.shape) < 2])
    return optimizer
