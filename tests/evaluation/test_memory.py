"""Masks of all rows are never held at once: memory does not grow with the rows."""

import os
import subprocess
import sys
from pathlib import Path

ROWS, SIDE = 1200, 320


def test_training_and_evaluation_hold_no_masks_of_all_rows(tmp_path):
    command = [sys.executable, Path(__file__).with_name("held_memory.py"), tmp_path, str(ROWS)]
    path = os.pathsep.join(str(Path(__file__).parents[1] / folder) for folder in ("../src", "", "training"))
    environment = os.environ | {"PYTHONPATH": path}
    printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    last = printed.splitlines()[-1]
    added = dict(zip(("train", "segmenter", "cascade", "folds"), map(float, last.split()), strict=True))
    of_all = ROWS * SIDE**2 / 2**20  # MiB at one byte a pixel; 117
    assert all(most < of_all / 3 for most in added.values()), added
