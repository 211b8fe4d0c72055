"""A step of a GAN's training, by hand and on both backends."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_gan import linear, linear_step, sagan, sagan_steps

from medpipe.generation.step import decay_at

# D: relu(1 - 0.2) + relu(1 + 0.2 * 0.5) = 1.9, by its weight -1 + 0.5; Adam's first step is the rate, 0.4, against the
# sign, but for its epsilon: 0.6. G then: -0.6 * 0.5 * 2, by its weight -1.2; it moves by 0.1 to 0.6.
BY_HAND = {"d_loss": 1.9, "g_loss": -0.6, "d_real": 0.2, "d_fake": 0.1, "d_gradient": 0.5, "g_gradient": 1.2}


def test_a_step_is_what_a_hand_computes():
    players = linear()
    assert linear_step(players) == pytest.approx(BY_HAND, abs=2e-5)
    weights = [float(model.get_weights()[0][0, 0]) for model in (players.discriminator, players.generator)]
    assert weights == pytest.approx([0.6, 0.6], abs=2e-5)
    assert float(players.average.get_weights()[0][0, 0]) == pytest.approx(0.9 * 0.5 + 0.1 * 0.6, abs=2e-5)


def test_jax_takes_the_same_steps(tmp_path):
    players = sagan()
    np.savez(tmp_path / "start.npz", **{str(place): np.array(v) for place, v in enumerate(players.state)})
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    script = Path(__file__).with_name("small_gan.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path], text=True, capture_output=True,
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": quick},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps, by_hand = map(ast.literal_eval, done.stdout.splitlines()[-2:])
    assert by_hand == pytest.approx(BY_HAND, abs=2e-5)
    for found, expected in zip(steps, sagan_steps(players), strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    with np.load(tmp_path / "jax.npz") as file:
        for place, variable in enumerate(players.state):
            np.testing.assert_allclose(file[str(place)], np.array(variable), atol=3e-3, err_msg=variable.path)


def test_the_average_soon_forgets_the_random_start():
    assert decay_at(1, 0.999) == 0.1
    assert decay_at(10**6, 0.999) == 0.999
