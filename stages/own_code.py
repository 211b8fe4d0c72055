"""Every script here imports this before medpipe, so that a stage and its children run the code beside it, whichever
copy of the repository is installed or on PYTHONPATH.
"""

import os
import sys
from pathlib import Path

SOURCE = str(Path(__file__).resolve().parents[1] / "src")

sys.path.insert(0, SOURCE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (SOURCE, os.environ.get("PYTHONPATH"))))
