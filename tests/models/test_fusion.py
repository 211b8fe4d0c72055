"""Fusion: what the composed model says is what head and members say by hand."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.linear_model import LogisticRegression
from small_models import SIDE, SMALL, STATS, batch

from medpipe.models import fusion
from medpipe.models.build import build
from medpipe.models.embedding import extractor


@pytest.fixture
def members():
    """A table's model and an image's, with the inputs of both."""
    shapes = {"mlp": (2,), "convnet": (SIDE, SIDE, 3)}
    models = [build(SMALL[name], shape, 3, STATS) for name, shape in shapes.items()]
    return models, [batch(name)[0] for name in shapes]


def side_by_side(models, inputs):
    return np.concatenate([ops.convert_to_numpy(model(x)) for model, x in zip(models, inputs, strict=True)], axis=1)


@pytest.mark.parametrize(("make", "at", "width"), [(fusion.late, "output", 6), (fusion.early, "embedding", 32 + 8)])
def test_the_whole_is_its_parts(members, tmp_path, make, at, width):
    models, inputs = members
    head = make(models, 3, (5, 4))
    assert head.input_shape == (None, width)
    assert [layer.units for layer in head.layers if isinstance(layer, keras.layers.Dense)] == [5, 4, 3]
    read = [fusion.features(model, at) for model in models]
    expected = ops.convert_to_numpy(head(side_by_side(read, inputs)))

    whole = fusion.compose(models, head, at)
    assert [tensor.name for tensor in whole.inputs] == ["table", "image"]
    assert [w.path for w in whole.trainable_weights] == [w.path for w in head.trainable_weights]
    np.testing.assert_allclose(ops.convert_to_numpy(whole(inputs)), expected, atol=1e-6)
    whole.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(ops.convert_to_numpy(again(inputs)), expected, atol=1e-6)


def test_members_of_one_name_and_kind(members, tmp_path):
    """Loaded models may have any name, and both may read images."""
    models, inputs = members
    twins = [models[1], keras.models.clone_model(models[1])]
    whole = fusion.compose(twins, fusion.late(twins, 3, ()), "output")
    assert [tensor.name for tensor in whole.inputs] == ["image_0", "image_1"]
    whole.save(tmp_path / "model.keras")
    images = [inputs[1], inputs[1]]
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(ops.convert_to_numpy(again(images)), ops.convert_to_numpy(whole(images)), atol=1e-6)


@pytest.mark.parametrize("seen", [(0, 1, 2), (0, 2)])
def test_stacking_is_the_regression(members, seen):
    models, inputs = members
    random = np.random.default_rng(0)
    truth = random.choice(seen, 60)
    # Probabilities that say something of the class.
    features = random.dirichlet(np.ones(3), (60, 2)) + 2 * np.eye(3)[truth][:, None]
    features = (features / features.sum(2, keepdims=True)).reshape(60, 6).astype("float32")
    regression = LogisticRegression(C=10.0).fit(features, truth)
    head = fusion.stacked(models, regression, 3)
    expected = np.zeros((60, 3))
    expected[:, list(seen)] = regression.predict_proba(features)
    np.testing.assert_allclose(ops.convert_to_numpy(head(features)), expected, atol=1e-6)
    whole = fusion.compose(models, head, "output")
    expected = regression.predict_proba(side_by_side(models, inputs))
    np.testing.assert_allclose(ops.convert_to_numpy(whole(inputs))[:, list(seen)], expected, atol=1e-6)


def test_the_early_head_reads_the_embeddings(members):
    models, _ = members
    for model in models:
        assert fusion.features(model, "embedding").output_shape == extractor(model).output_shape
