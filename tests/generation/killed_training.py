"""Trains small generators for the tests; run as `killed_training.py CHECKPOINT STEP` it kills itself at that step's
measures, before they are saved.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
from small_learners import BATCH, CLASSES, NOISE, SIDE, sagan

from medpipe import backend, params
from medpipe.generation.learner import Learner
from medpipe.generation.train import Judge, fit
from medpipe.training.batches import Samples

PUBLISHED = params.load(Path(__file__).parents[2]).generators["skin-sagan"]


def recipe(**changes) -> params.Generator:
    small = {
        "network": PUBLISHED.network.model_copy(update={"noise": NOISE}), "batch": BATCH, "steps": 6, "every": 2,
        "average": 0.9, "diffaugment": True,
    }  # fmt: skip
    return PUBLISHED.model_copy(update=small | changes)


def images(count: int = 14) -> Samples:
    """Noisy images, brighter by class, of all rows."""
    rng, labels = np.random.default_rng(0), np.arange(count) % CLASSES
    pixels = rng.normal(80 + 90 * labels[:, None, None, None], 30, (count, SIDE, SIDE, 3)).clip(0, 255)
    return Samples(pixels.astype(np.uint8), np.eye(CLASSES, dtype=np.float32)[labels], np.arange(count))


def flat(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1)[:, ::16] / 255.0


def train(learner: Learner, samples: Samples, settings: params.Generator, checkpoint: Path, on_measure):
    judge = Judge(samples, samples.rows, flat, settings)
    return fit(
        learner, samples, settings, judge,
        name="small", checkpoint=checkpoint, fingerprint="code", on_measure=on_measure,
    )  # fmt: skip


if __name__ == "__main__":

    def kill(step, row, pictures):
        if step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    backend.start(0, "float32")
    train(sagan(), images(), recipe(), Path(sys.argv[1]), kill)
