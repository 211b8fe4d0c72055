"""Ties a script to the copy of the repository that it lies in: each one in this folder imports this first.

DVC runs experiments in copies of the repository, while `medpipe` may be installed from the workspace, and PYTHONPATH
and git's variables may name another copy: a git hook exports them. Without this an experiment would run that code, and
its run would name that commit.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE"):
    os.environ.pop(name, None)
