"""Run by test_backends.py with KERAS_BACKEND=jax: `on_jax.py FOLDER`.

Loads FOLDER/*.keras, saved under TensorFlow, writes what each says of its test batch, of one the heat maps too, and
trains it for a step: with SGD and little of the backbone, since compiling is what takes the time here.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from small_models import ARCHITECTURES, SMALL, STATS, batch

from medpipe import backend
from medpipe.explain.cam import grad_cam, grad_cam_plus_plus
from medpipe.models.build import build
from medpipe.models.embedding import unfreeze_layers
from medpipe.models.losses import build_loss

folder = Path(sys.argv[1])
backend.start(0, "float32")
assert backend.name() == "jax"
for name in ARCHITECTURES:
    inputs, targets = batch(name)
    model = keras.saving.load_model(folder / f"{name}.keras", compile=False)
    np.save(folder / f"{name}.npy", model.predict_on_batch(inputs))
    if name == "convnet":
        maps = [method(model, [inputs], [0, 1, 1]) for method in (grad_cam, grad_cam_plus_plus)]
        np.save(folder / "maps.npy", maps)
    if name == "backbone":
        unfreeze_layers(model, 3, freeze_norm=False)
    model.compile(optimizer="sgd", loss=build_loss(SMALL[name].loss))
    before = model.get_layer("probabilities").get_weights()[1]
    assert np.isfinite(model.train_on_batch(inputs, targets)), name
    assert not np.array_equal(model.get_layer("probabilities").get_weights()[1], before), name
    print("trained", name)

# In the precision of the recipes for GPUs: steps whose gradients are infinite are skipped until the loss's scale fits.
backend.reset(0, "mixed_float16")
inputs, targets = batch("backbone")
model = build(SMALL["backbone"], inputs.shape[1:], 3, STATS)
unfreeze_layers(model, 3, freeze_norm=False)
model.compile(optimizer="sgd", loss=build_loss(SMALL["backbone"].loss))
before, steps = model.get_layer("probabilities").get_weights()[1], 0
while np.array_equal(model.get_layer("probabilities").get_weights()[1], before):
    assert (steps := steps + 1) < 20
    assert np.isfinite(model.train_on_batch(inputs, targets))
print("trained", model.layers[-2].compute_dtype)
