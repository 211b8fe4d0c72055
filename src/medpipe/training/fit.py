"""Training: phases, early stopping, best weights, and going on after a kill as if nothing had happened."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops

from medpipe import params
from medpipe.models import embedding
from medpipe.models.losses import build_loss
from medpipe.models.metrics import MacroF1, RowMean, dice
from medpipe.training import checkpoint as checkpoints
from medpipe.training.batches import Batches, Samples
from medpipe.training.checkpoint import State, Values
from medpipe.training.plan import Phase, Plan, build_optimizer, plan
from medpipe.training.sampling import Sampler
from medpipe.training.selection import class_numbers, class_weights, cost

OnEpoch = Callable[[int, dict[str, float]], None]

# Features of a frozen backbone are kept in memory up to so many bytes; beyond, they are computed anew each epoch.
_MOST_FEATURES = 2**30
# Lines that a phase prints at most, spread over its epochs.
_LINES = 10
# Steps on vectors that Keras takes at once: one alone takes less time than the way to the next.
_STEPS = 8


def fit(
    model: keras.Model,
    train: Samples,
    val: Samples,
    settings: params.Recipe | params.DenseFusion,
    *,
    seed: int,
    checkpoint: Path,
    on_epoch: OnEpoch,
    classes: Sequence[str] = (),
) -> pd.DataFrame:
    """Trains `model` in place and leaves it, uncompiled, with the weights of its best epoch (`selection.cost`);
    in cross-validation without early stopping of its last, so that no fold chooses the epoch of the model it judges.

    Returns a row an epoch: epoch (from 1, through all phases), phase, lr, loss, metrics, and both of validation; under
    a sampling also `draws_<class>`, how many rows of each of `classes` the epoch had, and `generated_<class>`, how many
    of them are generated images, where there are some. `classes` name the targets' columns; a plan without class
    weights and sampling does not read them.
    `on_epoch` gets each row's epoch and numbers once it is over; twice where a kill comes before it is saved.

    The state is saved to the file `checkpoint` after each epoch. Called again with the same arguments, it goes on from
    there and ends as it would have; a file of other settings, data or initial weights is passed over. The caller
    removes it. Raises RuntimeError that names model, phase, epoch and batch where the loss is no finite number, and
    SettingError for settings that do not fit the model or the data, before anything is trained.
    """
    steps = plan(settings)
    weights, sampler = None, None  # without them the targets, which may be masks, stay in their file
    if steps.class_weights is not None:
        weights = class_weights(train.targets[train.rows], classes, steps.class_weights, train.generated)
    if steps.sampling is not None:
        numbers = class_numbers(train.targets[train.rows], "sampling")
        sampler = Sampler(steps.sampling, numbers, tuple(classes), seed, train.generated)
    for phase in steps.phases:
        if phase.unfreeze is not None:
            embedding.unfreeze_layers(model, phase.unfreeze, phase.freeze_norm)
    fingerprint = checkpoints.fingerprint(model, steps, seed, (train, val))
    state = checkpoints.load(checkpoint, fingerprint)
    built = _values(model.variables)
    if state is None:
        state = State()
    else:
        print(f"{model.name}: going on after epoch {len(state.history)}, from {checkpoint}", flush=True)
        _assign(model.variables, state.model)

    def save(optimizer: keras.optimizers.Optimizer) -> None:
        state.model, state.optimizer = _changing(model), _values(optimizer.variables)
        checkpoints.save(checkpoint, state, fingerprint)

    features: dict[bytes, Samples] = {}
    for index in range(state.phase, len(steps.phases)):
        if index > state.phase:
            state.phase, state.epoch, state.over = index, 0, False
            state.goal, state.waited, state.optimizer = math.inf, 0, {}
        if not state.over and state.epoch < steps.phases[index].epochs:
            _run(model, steps, state, train, val, features, weights, sampler, seed, save, on_epoch)
    _assign(model.variables, built | state.best_model)
    return pd.DataFrame(state.history)


def _run(
    model: keras.Model,
    steps: Plan,
    state: State,
    train: Samples,
    val: Samples,
    features: dict[bytes, Samples],
    weights: npt.NDArray[np.float32] | None,
    sampler: Sampler | None,
    seed: int,
    save: Callable[[keras.optimizers.Optimizer], None],
    on_epoch: OnEpoch,
) -> None:
    """What is left of the phase that `state` names."""
    phase = steps.phases[state.phase]
    if state.phase < len(steps.phases) - 1:
        sampler, train = None, train.real
        weights = None if weights is None else weights[: len(train.rows)]
    trainer, train, val = _trainer(model, phase, steps, train, val, features)
    trainer.compile(
        optimizer=build_optimizer(steps.optimizer, phase.lr, trainer.trainable_variables),
        loss=build_loss(steps.loss),
        weighted_metrics=_metrics(train.targets),
        steps_per_execution=_STEPS if train.inputs.ndim == 2 else 1,
    )
    trainer.optimizer.build(trainer.trainable_variables)
    if state.optimizer:
        _assign(trainer.optimizer.variables, state.optimizer)
    batches = Batches(
        train,
        steps.batch,
        seed=seed,
        shuffle=True,
        weights=weights,
        augmentation=steps.augmentation,
        mixing=steps.mixing,
        # Through all phases Batches counts on; the schedule begins with the phase.
        sampler=None if sampler is None else _from(sampler, len(state.history) - state.epoch),
    )
    if val.targets.ndim == 3:  # neighbouring slices in a batch would be no batch of training, which a loss of all is of
        val = replace(val, rows=np.random.default_rng(seed).permutation(val.rows))
    validation = Batches(val, steps.batch, fill=True)
    terminal = sys.stdout.isatty()
    watch = _Epochs(model, steps, state, batches, sampler, save, on_epoch, quiet=terminal)
    with closing(batches), closing(validation):
        while state.epoch < phase.epochs and not state.over:
            batches.epoch = len(state.history)
            trainer.fit(
                batches,
                validation_data=validation,
                # Keras reads the number of batches once: one call for each stretch of epochs of one length.
                epochs=phase.epochs if sampler is None else sampler.until(state.epoch, phase.epochs),
                initial_epoch=state.epoch,
                # Keras would draw an order of batches of its own, which no checkpoint holds.
                shuffle=False,
                callbacks=[watch],
                verbose=1 if terminal else 0,
            )


def _metrics(targets: npt.NDArray) -> list[keras.metrics.Metric]:
    if targets.ndim == 3:
        return [RowMean(dice, "dice")]
    binary = targets.shape[1] == 1
    right = keras.metrics.binary_accuracy if binary else keras.metrics.categorical_accuracy
    return [RowMean(right, "accuracy"), MacroF1(max(2, targets.shape[1]))]


def _from(sampler: Sampler, start: int) -> Callable[[int], npt.NDArray[np.int64]]:
    return lambda epoch: sampler(max(0, epoch - start))  # new Batches stand at epoch 0


def _trainer(
    model: keras.Model, phase: Phase, steps: Plan, train: Samples, val: Samples, features: dict[bytes, Samples]
) -> tuple[keras.Model, Samples, Samples]:
    """The model to compile for a phase, over the layers of `model`, and what it reads.

    `model` itself is never compiled, so that it is saved without an optimizer. A backbone that is frozen as a whole
    runs as in inference, without its stochastic depth: then its features are the same in each epoch, and without
    augmentation and mixing they are computed once, into `features` by row numbers, for this phase and the next that is
    frozen.
    """
    if phase.unfreeze is not None:
        embedding.unfreeze_layers(model, phase.unfreeze, phase.freeze_norm)
    if phase.unfreeze != 0:
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name), train, val
    extractor, head = embedding.extractor(model), embedding.head(model)
    bytes_ = 4 * (len(train.rows) + len(val.rows)) * int(np.prod(extractor.output_shape[1:]))
    if steps.augmentation is None and steps.mixing is None and bytes_ <= _MOST_FEATURES:
        for samples in (train, val):
            if (key := samples.rows.tobytes()) not in features:
                features[key] = _features(extractor, samples, steps.batch)
        return head, features[train.rows.tobytes()], features[val.rows.tobytes()]
    inputs = keras.Input(model.input_shape[1:])
    return keras.Model(inputs, head(_Inference(extractor)(inputs)), name=model.name), train, val


class _Inference(keras.layers.Layer):
    """A model that runs as in inference inside one that trains: a functional one would pass `training` on to it."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return self.model(inputs, training=False)


def _features(extractor: keras.Model, samples: Samples, batch: int) -> Samples:
    with closing(Batches(samples, batch)) as batches:
        features = extractor.predict(batches, verbose=0)
    return Samples(features, samples.targets[samples.rows], np.arange(len(samples.rows)), samples.generated)


class _Epochs(keras.callbacks.Callback):
    """What happens around each epoch of a phase."""

    # Keras then hands over the losses without waiting for the device.
    async_safe = True

    def __init__(
        self,
        whole: keras.Model,
        steps: Plan,
        state: State,
        batches: Batches,
        sampler: Sampler | None,
        save: Callable[[keras.optimizers.Optimizer], None],
        on_epoch: OnEpoch,
        quiet: bool,
    ) -> None:
        super().__init__()
        self.whole, self.steps, self.state, self.batches = whole, steps, state, batches
        self.phase = steps.phases[state.phase]
        self.sampler, self.save, self.on_epoch, self.quiet = sampler, save, on_epoch, quiet
        self.last, self.weights = state.phase == len(steps.phases) - 1, batches.weights
        self.bad: list[int] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self.weights is not None:
            held = epoch + 1 >= self.steps.weights_from if self.last else self.steps.weights_from == 1
            self.batches.weights = self.weights if held else np.ones_like(self.weights)
        self.batches.epoch = len(self.state.history)
        self.model.optimizer.learning_rate = self.phase.rate(epoch)
        self.started = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._check()

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        # The mean over the epoch so far: once a batch has spoilt it, it stays so.
        if not math.isfinite(logs["loss"]):
            self.bad.append(batch)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self._check()
        for name, value in logs.items():  # any of which may choose the epoch
            if not math.isfinite(value):
                self._stop("validation", name)
        state = self.state
        numbers = {"lr": self.phase.rate(epoch)} | {name: float(value) for name, value in logs.items()}
        if self.sampler is not None:
            places, counts = self.batches.places, {"draws": self.sampler.drawn}
            if self.sampler.generated:
                counts["generated"] = self.sampler.invented
            numbers |= {f"{key}_{name}": float(n) for key, count in counts.items() for name, n in count(places).items()}
        state.history.append({"epoch": len(state.history) + 1, "phase": self.phase.name, **numbers})
        state.epoch = epoch + 1
        reached = cost(numbers, self.steps.phases[-1].early_stopping)  # one measure for all phases
        if reached < state.best or self.steps.keep_last:
            state.best, state.best_model = reached, _changing(self.whole)
        self._stop_early(reached)
        epochs = self.phase.epochs
        if not self.quiet and (epoch + 1 == epochs or state.over or (epoch + 1) % -(-epochs // _LINES) == 0):
            shown = {name: value for name, value in numbers.items() if not name.startswith(("draws_", "generated_"))}
            figures = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
            seconds = time.perf_counter() - self.started
            print(f"{self.phase.name} {epoch + 1}/{epochs}  {figures}  {seconds:.1f} s", flush=True)
        self.on_epoch(len(state.history), numbers)
        self.save(self.model.optimizer)

    def _check(self) -> None:
        if self.bad:
            # Keras counts the last batches taken at once as if there were as many as elsewhere.
            steps, last = self.model.steps_per_execution, min(*self.bad, len(self.batches) - 1) + 1
            first = (last - 1) // steps * steps + 1
            self._stop(f"batch {last}" if steps == 1 else f"batches {first} to {last}", "loss")

    def _stop_early(self, reached: float) -> None:
        rule, state = self.phase.early_stopping, self.state
        if rule is None:
            return
        if reached < state.goal - rule.min_delta:
            state.goal, state.waited = reached, 0
        else:
            state.waited += 1
        self.model.stop_training = state.over = state.waited >= rule.patience

    def _stop(self, where: str, what: str) -> None:
        raise RuntimeError(
            f"{self.whole.name}: {what} is no finite number in phase {self.phase.name}, epoch {self.state.epoch + 1} "
            f"of {self.phase.epochs}, {where}; lower the learning rate or look at the inputs"
        )


def _values(variables: list[keras.Variable]) -> Values:
    return {place: np.array(ops.convert_to_numpy(variable)) for place, variable in enumerate(variables)}


def _changing(model: keras.Model) -> Values:
    """The variables that the phase under way may change: all but the weights of frozen layers."""
    frozen = {id(weight) for layer in model.layers if not layer.trainable for weight in layer.weights}
    return {
        place: np.array(ops.convert_to_numpy(variable))
        for place, variable in enumerate(model.variables)
        if id(variable) not in frozen
    }


def _assign(variables: list[keras.Variable], values: Values) -> None:
    for place, value in values.items():
        variables[place].assign(value)
