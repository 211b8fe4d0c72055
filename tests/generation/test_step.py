"""A step of a training of each kind, by hand and on both backends."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_learners import MADE, drawn, linear, linear_step, scaled, scaled_step, steps

from medpipe.generation.learner import decay_at

# D: relu(1 - 0.2) + relu(1 + 0.2 * 0.5) = 1.9, by its weight -1 + 0.5; Adam's first step is the rate, 0.4, against the
# sign, but for its epsilon: 0.6. G then: -0.6 * 0.5 * 2, by its weight -1.2; it moves by 0.1 to 0.6.
BY_HAND = {"d_loss": 1.9, "g_loss": -0.6, "d_real": 0.2, "d_fake": 0.1, "d_gradient": 0.5, "g_gradient": 1.2}
# With 0.5 of noise a white pixel is 1.5, of which half is kept; shown is 1.5 / sqrt(0.5), of which the network makes
# half, and of that again sqrt(0.125) is added: 1.125. The weight is 0.5 / 0.25^2 = 8, the loss 8 * 0.125^2. By the
# network's factor: 8 * 2 * 0.125 * sqrt(0.125) * 1.5 / sqrt(0.5) = 1.5; it moves by 0.1 to 0.4.
SCALED_BY_HAND = {"loss": 0.125, "gradient": 1.5}


def test_a_step_is_what_a_hand_computes():
    learner = linear()
    assert linear_step(learner) == pytest.approx(BY_HAND, abs=2e-5)
    weights = [float(model.get_weights()[0][0, 0]) for model in (learner.discriminator, learner.generator)]
    assert weights == pytest.approx([0.6, 0.6], abs=2e-5)
    assert float(learner.average.get_weights()[0][0, 0]) == pytest.approx(0.9 * 0.5 + 0.1 * 0.6, abs=2e-5)
    learner = scaled()
    assert scaled_step(learner) == pytest.approx(SCALED_BY_HAND, abs=2e-5)
    weights = [float(model.get_weights()[0][0, 0]) for model in (learner.network, learner.drawn)]
    assert weights == pytest.approx([0.4, 0.9 * 0.5 + 0.1 * 0.4], abs=2e-5)


def test_jax_takes_the_same_steps(tmp_path):
    learners = {kind: make() for kind, make in MADE.items()}
    for kind, learner in learners.items():
        np.savez(tmp_path / f"{kind}.npz", **{str(place): np.array(v) for place, v in enumerate(learner.state)})
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    script = Path(__file__).with_name("small_learners.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path], text=True, capture_output=True,
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": quick},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stdout.splitlines()[-1])
    for one, expected in zip(found["by hand"], (BY_HAND, SCALED_BY_HAND), strict=True):
        assert one == pytest.approx(expected, abs=2e-5)
    for kind, learner in learners.items():
        for one, expected in zip(found[kind], steps(learner), strict=True):
            assert one == pytest.approx(expected, rel=1e-3, abs=1e-4)
        with np.load(tmp_path / f"{kind}-jax.npz") as file:
            for place, variable in enumerate(learner.state):
                np.testing.assert_allclose(file[str(place)], np.array(variable), atol=3e-3, err_msg=variable.path)
            np.testing.assert_allclose(file["images"].astype(int), drawn(learner), atol=3)


def test_the_average_soon_forgets_the_random_start():
    assert decay_at(1, 0.999) == 0.1
    assert decay_at(10**6, 0.999) == 0.999
