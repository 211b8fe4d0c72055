"""What a segmenter and a cascade take of memory does not grow with the masks."""

import json
import os
import subprocess
import sys
from pathlib import Path

MOST = 10  # megabytes: eight times as many masks, kept as bytes, take 14 more in the smallest step, as floats 100


def test_eight_times_as_many_masks_take_no_more_memory(tmp_path):
    command = [sys.executable, Path(__file__).with_name("mask_memory.py"), tmp_path]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=True)
    peaks = json.loads(ended.stdout.splitlines()[-1])
    assert len(peaks) == 5
    assert {step: pair for step, pair in peaks.items() if pair[1] - pair[0] > MOST} == {}
