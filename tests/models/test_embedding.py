"""Halves of a model and what of it trains."""

import numpy as np
import pytest
from keras import ops
from small_models import SIDE, SMALL, batch

from medpipe.errors import InputError
from medpipe.models.build import build
from medpipe.models.embedding import extractor, head, unfreeze_layers


@pytest.fixture
def model():
    return build(SMALL["backbone"], (SIDE, SIDE, 3), 3, {})


def split_names(model):
    names = [layer.name for layer in model.layers]
    at = names.index("embedding")
    return names[:at], names[at:]


def training(model):
    return [layer.name for layer in model.layers if layer.trainable]


def test_the_halves_make_the_whole_and_share_its_weights(model):
    inputs, _ = batch("backbone")
    first, second = extractor(model), head(model)
    assert first.output_shape == (None, 1280)
    np.testing.assert_allclose(np.asarray(second(first(inputs))), np.asarray(model(inputs)), atol=1e-6)
    weights = {id(w) for w in model.weights}
    assert {id(w) for w in first.weights} | {id(w) for w in second.weights} == weights


def test_unfreeze(model):
    backbone, top = split_names(model)
    unfreeze_layers(model, 0, freeze_norm=False)
    assert training(model) == top
    unfreeze_layers(model, 10, freeze_norm=False)
    assert training(model) == backbone[-10:] + top
    unfreeze_layers(model, len(backbone), freeze_norm=False)
    assert training(model) == backbone + top
    unfreeze_layers(model, "block_16", freeze_norm=False)
    assert training(model) == backbone[backbone.index("block_16_expand") :] + top
    unfreeze_layers(model, "all", freeze_norm=False)
    assert training(model) == backbone + top


def test_frozen_norm_is_the_backbones_alone(model):
    backbone, top = split_names(model)
    unfreeze_layers(model, 10, freeze_norm=True)
    norm = [name for name in backbone[-10:] if name.lower().endswith("_bn")]
    assert norm
    assert training(model) == [name for name in backbone[-10:] if name not in norm] + top


def test_what_cannot_be_unfrozen_is_refused(model):
    count = len(split_names(model)[0])
    with pytest.raises(InputError, match=rf"{count + 1} layers, but the backbone has {count};"):
        unfreeze_layers(model, count + 1, freeze_norm=False)
    with pytest.raises(InputError, match=rf"none of the backbone's {count} layers .* 'conv5'.*'out_relu'"):
        unfreeze_layers(model, "conv5", freeze_norm=False)


def test_only_what_is_unfrozen_changes(model):
    """Frozen batch normalisation keeps its moving statistics, too."""
    unfreeze_layers(model, "Conv_1", freeze_norm=False)
    inputs, targets = batch("backbone")
    before = {w.path: ops.convert_to_numpy(w) for w in model.weights}
    model.compile(optimizer="adam", loss="categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(inputs, targets)
    after = {w.path: ops.convert_to_numpy(w) for w in model.weights}
    changed = {path.split("/")[0] for path in after if not np.array_equal(before[path], after[path])}
    assert {"Conv_1", "Conv_1_bn", "probabilities"} <= changed
    assert changed <= set(training(model))
