"""The backend's start: seeds, policy, determinism. In a process of its own."""

import json
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import tensorflow
import yaml

from medpipe import backend as backend_module
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
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
else:
    import jax
    assert jax.config.jax_default_matmul_precision == "highest"
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


class StartedError(Exception):
    pass


def test_only_a_stage_that_does_nothing_but_train_keeps_tf32(monkeypatch):
    """Of each script that starts the backend, for the first of what dvc.yaml gives it, up to there."""
    root, kept = Path(__file__).parents[1], {}
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root / "stages")
    start, tf32 = backend_module.start, tensorflow.config.experimental

    def stop(*args, **named):
        start(*args, **named)
        raise StartedError

    monkeypatch.setattr(backend_module, "start", stop)
    for stage in yaml.safe_load((root / "dvc.yaml").read_text())["stages"].values():
        script = root / stage.get("do", stage)["cmd"].split()[1]
        if "backend.start(" not in script.read_text():
            continue
        section = stage["foreach"].strip("${}")
        values = next(v for v in map(yaml.safe_load, map(Path.read_text, root.glob("*.yaml"))) if section in v)
        tf32.enable_tensor_float_32_execution(True)
        with pytest.raises(StartedError):
            runpy.run_path(str(script))["main"](next(iter(values[section])))
        kept[script.stem] = tf32.tensor_float_32_execution_enabled()
    start(0, "float32")
    assert {"evaluate", "fuse", "measure", "probe", "generate"} < kept.keys()
    assert [name for name, on in kept.items() if on] == ["train"]
