"""The backend's start: seeds, policy, determinism. In a process of its own."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
import numpy as np
from medpipe import backend
import keras

def draw():
    backend.start(7, "mixed_bfloat16")
    return keras.layers.Dense(3).compute_dtype, keras.ops.convert_to_numpy(keras.random.normal((4,)))

(policy, first), (_, second) = draw(), draw()
assert policy == "bfloat16"
np.testing.assert_array_equal(first, second)
assert (keras.config.image_data_format(), keras.config.floatx()) == ("channels_last", "float32")
assert keras.config.epsilon() == 1e-7
if backend.name() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.framework import config
    assert config.is_op_determinism_enabled()
else:
    assert os.environ["XLA_FLAGS"].count("deterministic") == 1
print(backend.name())
"""


def run(backend):
    environment = os.environ | {"KERAS_BACKEND": backend}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_start(backend, tmp_path, monkeypatch):
    kept = {"floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first", "backend": "torch"}
    (tmp_path / "keras.json").write_text(json.dumps(kept))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    done = run(backend)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == backend
