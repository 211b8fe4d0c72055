"""The backend's start: seeds, policy, determinism. In a process of its own."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from medpipe import provenance

SCRIPT = """
import os
import sys
import numpy as np
from medpipe import backend, provenance
import keras

deterministic = sys.argv[1] == "True"

def draw():
    backend.start(7, "mixed_bfloat16", deterministic)
    return keras.layers.Dense(3).compute_dtype, keras.ops.convert_to_numpy(keras.random.normal((4,)))

(policy, first), (_, second) = draw(), draw()
assert policy == "bfloat16"
np.testing.assert_array_equal(first, second)
assert (keras.config.image_data_format(), keras.config.floatx()) == ("channels_last", "float32")
assert keras.config.epsilon() == 1e-7
if backend.name() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.framework import config
    assert config.is_op_determinism_enabled() is deterministic
else:
    assert os.environ.get("XLA_FLAGS", "").count("deterministic") == deterministic
print(provenance.versions()["backend"])
"""


@pytest.mark.parametrize(("backend", "deterministic"), [("tensorflow", True), ("tensorflow", False), ("jax", True)])
def test_start(backend, deterministic, tmp_path, monkeypatch):
    """JAX by the user's keras.json, which the environment may overrule; provenance knows without Keras what it uses."""
    kept = {"floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first", "backend": "jax"}
    (tmp_path / "keras.json").write_text(json.dumps(kept))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if backend == "tensorflow":
        monkeypatch.setenv("KERAS_BACKEND", backend)
    command = [sys.executable, "-c", SCRIPT, str(deterministic)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == provenance.chosen()["backend"] == f"{backend} {version(backend)}"
