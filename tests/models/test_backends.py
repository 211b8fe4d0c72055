"""A saved model elsewhere: in a fresh process, without this package, and on the other backend."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from small_models import ARCHITECTURES, SMALL, STATS, batch

from medpipe.explain.cam import grad_cam, grad_cam_plus_plus
from medpipe.models.build import build
from medpipe.models.losses import build_loss


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model of each architecture, compiled with its loss, and what it says of its test batch."""
    folder = tmp_path_factory.mktemp("saved")
    for name in ARCHITECTURES:
        inputs, targets = batch(name)
        model = build(SMALL[name], inputs.shape[1:], 3, STATS)
        model.compile(optimizer="adam", loss=build_loss(SMALL[name].loss))
        outputs = ops.convert_to_numpy(model(inputs))
        np.savez(folder / f"{name}.npz", inputs=inputs, targets=targets, outputs=outputs)
        model.save(folder / f"{name}.keras")
    return folder


def run(script, folder, **environment):
    command = [sys.executable, Path(__file__).with_name(script), folder]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_models_load_in_a_fresh_process(saved):
    alpha, gamma, loss = map(float, run("fresh_process.py", saved)[-1].split())
    assert (alpha, gamma) == (0.7, 0.75)
    arrays = np.load(saved / "resunet.npz")
    expected = float(build_loss(SMALL["resunet"].loss)(arrays["targets"], arrays["outputs"]))
    assert loss == pytest.approx(expected, rel=1e-4)


def test_jax_says_the_same_explains_it_alike_and_trains_every_architecture(saved):
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    lines = run("on_jax.py", saved, KERAS_BACKEND="jax", XLA_FLAGS=quick)
    assert lines == [f"trained {name}" for name in (*ARCHITECTURES, "float16")]
    for name in ARCHITECTURES:
        np.testing.assert_allclose(np.load(saved / f"{name}.npy"), np.load(saved / f"{name}.npz")["outputs"], atol=1e-4)
    model, (inputs, _) = keras.saving.load_model(saved / "convnet.keras", compile=False), batch("convnet")
    maps = [method(model, [inputs], [0, 1, 1]) for method in (grad_cam, grad_cam_plus_plus)]
    np.testing.assert_allclose(np.load(saved / "maps.npy"), maps, atol=1e-3)
