"""Run by test_backends.py: `fresh_process.py FOLDER` loads what another process saved, first without this package."""

import sys
from pathlib import Path

import keras
import numpy as np

folder = Path(sys.argv[1])
for path in sorted(folder.glob("*.keras")):
    model = keras.saving.load_model(path, compile=False)
    inputs = np.load(path.with_suffix(".npz"))
    values = keras.ops.convert_to_numpy(model(inputs["inputs"]))
    np.testing.assert_allclose(values, inputs["outputs"], atol=1e-6)
assert "medpipe" not in sys.modules

from medpipe.models.losses import FocalTversky  # noqa: E402

model = keras.saving.load_model(folder / "resunet.keras")
assert isinstance(model.loss, FocalTversky)
print(model.loss.alpha, model.loss.gamma, model.evaluate(inputs["inputs"], inputs["targets"], verbose=0))
