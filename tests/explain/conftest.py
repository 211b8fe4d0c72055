import sys
from pathlib import Path

# small_models.py
sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
