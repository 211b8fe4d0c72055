"""benchmarks/gpu_check.py at tiny sizes, where only JAX is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# As if TensorFlow were not installed.
HIDDEN = """
import importlib.machinery as machinery
real = machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] == "tensorflow" else real(name, path, target)
machinery.PathFinder.find_spec = find_spec
"""
# Operands as TF32 has them: 10 bits of a float32's 23.
ROUNDED = """
import numpy as np
from keras import ops
from gpu_claims import FLOAT32, float32_errors
def rounded(x):
    bits = ops.convert_to_numpy(x).view(np.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(np.float32)
errors = float32_errors(lambda a, b: rounded(a) @ rounded(b), lambda a, b: ops.conv(rounded(a), rounded(b)), 256)
assert all(error > 5 * FLOAT32 for error in errors.values()), errors
"""


def run(*command, **environment):
    settings = os.environ | {"CUDA_VISIBLE_DEVICES": ""} | environment
    return subprocess.run([sys.executable, *map(str, command)], env=settings, capture_output=True, text=True)


def test_without_tensorflow_and_gpu_the_rest_is_tried_and_holds(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    done = run(BENCHMARKS / "gpu_check.py", "--tiny", tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    claims = json.loads((tmp_path / "out" / "gpu_check.json").read_text())["claims"]
    assert {outcomes["tensorflow"]["detail"] for outcomes in claims.values()} == {"tensorflow is not installed"}
    verdicts = {claim: outcomes["jax"]["verdict"] for claim, outcomes in claims.items()}
    without = dict.fromkeys(("sees_gpu", "memory_growth", "two_trainings"), "not tried")
    assert verdicts == without | dict.fromkeys(("full_float32", "served_b4", "speed_b4", "first_steps"), "pass")
    assert "not judged without a GPU" in (tmp_path / "out" / "gpu_check.md").read_text()


def test_tf32_is_told_from_float32():
    done = run("-c", ROUNDED, PYTHONPATH=str(BENCHMARKS), KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
