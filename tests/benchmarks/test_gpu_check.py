"""benchmarks/gpu_check.py at tiny sizes, where only JAX is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from keras import ops

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# As if TensorFlow were not installed.
HIDDEN = """
import importlib.machinery as machinery
real = machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] == "tensorflow" else real(name, path, target)
machinery.PathFinder.find_spec = find_spec
"""


def test_without_tensorflow_and_gpu_the_rest_is_tried_and_holds(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    paths = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # else XLA compiles for longer than it computes
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu_check.py", "--tiny", tmp_path / "out"],
        env=os.environ | quick | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    claims = json.loads((tmp_path / "out" / "gpu_check.json").read_text())["claims"]
    assert {outcomes["tensorflow"]["detail"] for outcomes in claims.values()} == {"tensorflow is not installed"}
    verdicts = {claim: outcomes["jax"]["verdict"] for claim, outcomes in claims.items()}
    without = dict.fromkeys(("sees_gpu", "memory_growth", "two_trainings"), "not tried")
    assert verdicts == without | dict.fromkeys(("full_float32", "served_b4", "speed_b4", "first_steps"), "pass")
    assert "not judged without a GPU" in (tmp_path / "out" / "gpu_check.md").read_text()


def test_tf32_is_told_from_float32(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from gpu_claims import FLOAT32, float32_errors

    def rounded(x):
        """Operands as TF32 has them: 10 bits of a float32's 23."""
        bits = ops.convert_to_numpy(x).view(np.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(np.float32)

    errors = float32_errors(lambda a, b: rounded(a) @ rounded(b), lambda a, b: ops.conv(rounded(a), rounded(b)), 256)
    assert all(error > 5 * FLOAT32 for error in errors.values()), errors
