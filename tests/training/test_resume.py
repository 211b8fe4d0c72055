"""SIGKILL, and again with the same arguments: the result is an uninterrupted training's, to the last bit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


def start(folder: Path, name: str, *moment: object, backend: str = "tensorflow") -> subprocess.Popen:
    command = [sys.executable, HERE / "killed.py", folder, name, *moment]
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(HERE), "XLA_FLAGS": quick}
    return subprocess.Popen([*map(str, command)], env=environment, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen, code: int) -> str:
    output, _ = process.communicate()
    assert process.returncode == code, output
    return output


def result(folder: Path, name: str) -> tuple[dict, list[np.ndarray]]:
    with np.load(folder / f"{name}-weights.npz") as file:
        return json.loads((folder / f"{name}.json").read_text()), [file[key] for key in file.files]


# Two epochs of warm-up and the last one read six batches, one of them for validation; the two between them draw fewer
# rows and read four. Killed at the end of warm-up, whose last epoch is lost, and in the fourth epoch.
TENSORFLOW = ("tensorflow", [("epoch", 2), ("read", 13)])
JAX = ("jax", [("read", 20)])


@pytest.mark.parametrize(("backend", "moments"), [TENSORFLOW, JAX], ids=["tensorflow", "jax"])
def test_a_killed_training_ends_as_an_uninterrupted_one(tmp_path, backend, moments):
    uninterrupted = start(tmp_path, "whole", backend=backend)
    for moment in moments:
        finish(start(tmp_path, "killed", *moment, backend=backend), -signal.SIGKILL)
        assert (tmp_path / "killed.npz").exists()
    output = finish(start(tmp_path, "killed", backend=backend), 0)
    assert "small: going on after epoch" in output
    assert "5 epochs" in output
    finish(uninterrupted, 0)
    (history, weights), (expected, expected_weights) = result(tmp_path, "killed"), result(tmp_path, "whole")
    assert history == expected
    assert all(np.array_equal(a, b) for a, b in zip(weights, expected_weights, strict=True))
    # Each epoch counted each of its rows once.
    draws = np.array([40, 40, 24, 24, 40])
    right = draws * np.array([*history["accuracy"].values()])
    np.testing.assert_allclose(right, right.round(), atol=1e-4)
    drawn = [[*history[f"draws_{name}"].values()] for name in "abc"]
    assert np.array(drawn)[:, 2:].tolist() == [[8, 8, 14], [8, 8, 13], [8, 8, 13]]
