"""Training a generator: measured every so many steps, stopped where it has failed, going on after a kill."""

import math
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops

from medpipe.generation import measures
from medpipe.generation.draw import draw, draw_new, noise, one_hot
from medpipe.generation.features import Extractor
from medpipe.generation.learner import Learner, decay_at, named
from medpipe.params import Generator
from medpipe.training import checkpoint as checkpoints
from medpipe.training.batches import Batches, Samples
from medpipe.training.checkpoint import State

# What a stream of random numbers is for.
_STEP, _JUDGED, _CANVAS = 1, 2, 3
# Steps whose losses are read at once: to wait for each would keep the device waiting.
_WAITED = 25
# Generated images are all alike where their pixels vary by less than this share of the real ones' deviation.
_ALIKE = 0.1

OnMeasure = Callable[[int, dict[str, float], npt.NDArray[np.uint8]], None]


class Judge:
    """Compares a generator's images with `judged` of the training images, of the same classes."""

    def __init__(self, samples: Samples, rows: npt.NDArray[np.int64], extractor: Extractor, settings: Generator):
        self.extractor, real = extractor, np.asarray(samples.inputs[rows])
        self.real, self.spread = extractor(real), _spread(real)
        self.classes, self.seed = samples.targets[rows], [settings.seed, _JUDGED]

    def __call__(self, generator: keras.Model) -> dict[str, float]:
        """`fid`, `kid` and `spread`, the generated images' deviation over the real ones'."""
        images = draw_new(generator, self.classes, self.seed)
        features = self.extractor(images)
        return {
            "fid": measures.frechet(self.real, features),
            "kid": measures.kernel(self.real, features),
            "spread": _spread(images) / self.spread,
        }


def fit(
    learner: Learner,
    samples: Samples,
    settings: Generator,
    judge: Judge,
    *,
    name: str,
    checkpoint: Path,
    fingerprint: str,
    on_measure: OnMeasure,
) -> pd.DataFrame:
    """Trains for `settings.steps` steps, and leaves `learner.drawn` with the weights of its lowest FID.

    Every `settings.every` steps a row: epoch (the step), means of the steps' statistics, and what `judge` measures;
    `on_measure` gets it with a canvas, a row of images a class, and the state is saved to `checkpoint`. Called again
    with the same arguments it goes on from there and ends with the same bits. All random numbers follow
    (settings.seed, step).

    Raises RuntimeError that names the step where a loss is no finite number, or all images are alike.
    """
    state = checkpoints.load(checkpoint, fingerprint) or State()
    if state.history:
        print(f"{name}: going on after step {state.epoch}, from {checkpoint}", flush=True)
        for place, value in state.model.items():
            learner.state[place].assign(value)
    waiting: list[list[Any]] = []
    found: list[dict[str, float]] = []
    started = time.perf_counter()
    with closing(Batches(samples, settings.batch, seed=settings.seed, shuffle=True)) as batches:
        for step in range(state.epoch, settings.steps):
            epoch, index = divmod(step, len(batches))
            if batches.epoch != epoch:
                batches.epoch = epoch
            images, of = batches[index]
            random = learner.random(of, np.random.default_rng([settings.seed, step, _STEP]))
            waiting.append(learner.step(images, of, random, _decay(settings, step)))
            measured = (step + 1) % settings.every == 0 or step + 1 == settings.steps
            if measured or len(waiting) == _WAITED:
                found += _checked(learner, waiting, step, name)
                waiting = []
            if not measured:
                continue
            row = {key: float(np.mean([one[key] for one in found])) for key in found[0]} | judge(learner.drawn)
            seconds, started = time.perf_counter() - started, time.perf_counter()
            losses = "  ".join(f"{key} {row[key]:.3g}" for key in learner.statistics if key.endswith("loss"))
            print(
                f"step {step + 1}/{settings.steps}  FID {row['fid']:.4g}  {losses}  {len(found) / seconds:.1f} steps/s",
                flush=True,
            )
            if not row["spread"] >= _ALIKE:
                raise RuntimeError(
                    f"{name}: all images are alike at step {step + 1}: they vary by {row['spread']:.1%} of the real "
                    "ones' deviation; lower the learning rate, or give a SAGAN diffaugment"
                )
            if not math.isfinite(row["fid"]):
                raise RuntimeError(f"{name}: FID is no finite number at step {step + 1}; lower the learning rate")
            state.history.append({"epoch": step + 1, **row})
            state.epoch, found = step + 1, []
            if row["fid"] < state.best:
                state.best, state.best_model = row["fid"], _values(learner.drawn.variables)
            on_measure(step + 1, row, canvas(learner.drawn, of.shape[1], settings.seed))
            state.model = _values(learner.state)
            checkpoints.save(checkpoint, state, fingerprint)
    for place, value in state.best_model.items():
        learner.drawn.variables[place].assign(value)
    return pd.DataFrame(state.history)


def canvas(generator: keras.Model, classes: int, seed: int, columns: int = 8) -> npt.NDArray[np.uint8]:
    """(classes * columns, h, w, 3): class by class, the same noise for each."""
    of = one_hot(np.repeat(np.arange(classes), columns), classes)
    return draw(generator, np.tile(noise(generator, columns, [seed, _CANVAS]), (classes, 1)), of)


def _decay(settings: Generator, step: int) -> float:
    return 0.0 if settings.average is None else decay_at(step + 1, settings.average)


def _checked(learner: Learner, waiting: list[list[Any]], last: int, name: str) -> list[dict[str, float]]:
    found = [named(learner, one) for one in waiting]
    for place, row in enumerate(found):
        for key, value in row.items():
            if not math.isfinite(value):
                step = last + 2 - len(found) + place
                raise RuntimeError(f"{name}: {key} is no finite number at step {step}; lower the learning rate")
    return found


def _spread(images: npt.NDArray[np.uint8]) -> float:
    """The deviation over images of a pixel, the mean of all pixels."""
    return float(images.astype(np.float32).std(axis=0).mean())


def _values(variables: list[keras.Variable]) -> checkpoints.Values:
    return {place: np.array(ops.convert_to_numpy(variable)) for place, variable in enumerate(variables)}
