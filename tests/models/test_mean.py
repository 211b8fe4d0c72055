"""The mean of models as one model."""

import keras
import numpy as np
from keras import ops
from small_models import SIDE, SMALL, STATS, batch, pixels

from medpipe.models import fusion
from medpipe.models.build import build
from medpipe.models.mean import mean

SHAPES = {"mlp": (2,), "convnet": (SIDE, SIDE, 3)}


def said(model, inputs):
    return ops.convert_to_numpy(model(inputs))


def test_members_of_the_same_images_share_an_input(tmp_path):
    """A table's model, two of images, and a fusion that reads both."""
    names = ("mlp", "convnet", "convnet", "mlp", "convnet")
    table, one, two, *both = (build(SMALL[name], SHAPES[name], 3, STATS) for name in names)
    fused = fusion.compose(both, fusion.late(both, 3, ()), "output")
    inputs = [batch("mlp")[0], pixels()]
    weights = [0.1, 0.2, 0.3, 0.4]
    parts = [said(table, inputs[0]), said(one, inputs[1]), said(two, inputs[1]), said(fused, inputs)]
    reads = ["skin-table", "skin-32", "skin-32", "skin-table", "skin-32"]
    mean([table, one, two, fused], reads, weights).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert [tensor.name for tensor in again.inputs] == ["skin-table", "skin-32"]
    expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    np.testing.assert_allclose(said(again, inputs), expected, atol=1e-6)


def test_one_sigmoid_counts_as_two_classes():
    binary = build(SMALL["resnet"], (SIDE, SIDE, 3), 2, {})
    other = build(SMALL["convnet"], (SIDE, SIDE, 3), 2, {})
    p = said(binary, pixels())
    expected = 0.5 * np.concatenate([1 - p, p], axis=1) + 0.5 * said(other, pixels())
    found = said(mean([binary, other], ["brain-32"] * 2, [0.5, 0.5]), pixels())
    np.testing.assert_allclose(found, expected, atol=1e-6)
