"""Halves of a model and what of it trains."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_models import SIDE, SMALL, STATS, batch, change

from medpipe.errors import InputError
from medpipe.models import cascade, fusion
from medpipe.models.build import build
from medpipe.models.embedding import extractor, head, observed, standardise, unfreeze_layers
from medpipe.models.mean import mean


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
    assert training(model) == [name for name in backbone if name.startswith("block_16")] + top
    assert not {"Conv_1", "Conv_1_bn"} & set(training(model))
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


def random_residual(blocks):
    """Convolutions in residual branches, as EfficientNet's and ResNet's end, under a last normalisation."""
    keras.utils.set_random_seed(1)
    inputs = x = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same")(x)
    for i in range(blocks):
        branch = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", kernel_initializer="he_normal")(x))
        branch = layers.Conv2D(8, 3, padding="same", kernel_initializer="he_normal")(layers.ReLU()(branch))
        branch = layers.Dropout(0.1)(layers.BatchNormalization(name=f"end_{i}")(branch))
        x = layers.Add()([branch, x])
    x = layers.BatchNormalization(name="last")(layers.Conv2D(16, 1)(x))
    x = layers.GlobalAveragePooling2D(name="embedding")(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))


def test_a_random_backbone_is_standardised_and_its_branches_begin_at_zero():
    model, images = random_residual(12), np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    last = keras.Model(model.inputs[0], model.get_layer("last").output)
    assert abs(last.predict(images, verbose=0)).max() > 1e3
    standardise(model, images, batch=16)
    features = last.predict(images, verbose=0)
    np.testing.assert_allclose(features.mean((0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(features.std((0, 1, 2)), 1, atol=1e-3)
    for layer in model.layers:
        if layer.name.startswith("end_"):
            assert not np.any(layer.gamma)
        elif isinstance(layer, layers.BatchNormalization) and layer.name != "last":
            np.testing.assert_array_equal(layer.gamma, 1)
    before = [ops.convert_to_numpy(w) for w in model.weights]
    again = random_residual(12)
    standardise(again, images, batch=16)
    for one, other in zip(before, again.weights, strict=True):
        np.testing.assert_array_equal(one, ops.convert_to_numpy(other))


def test_one_pass_gives_outputs_and_embedding():
    table = build(SMALL["mlp"], (2,), 3, STATS)
    flat = build(change(SMALL["backbone"], pooling="flatten"), (SIDE, SIDE, 3), 3, STATS)
    one, two, three = (build(SMALL["convnet"], (SIDE, SIDE, 3), 3, STATS) for _ in range(3))
    images = keras.Input((SIDE, SIDE, 3))
    segmenter = keras.Model(images, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(images))
    means = mean([mean([one, two], ["image"] * 2, [0.3, 0.7]), three], ["image"] * 2, [0.5, 0.5])
    for model, features in (
        (table, 32),
        (flat, 1280),
        (fusion.compose([table, one], fusion.early([table, one], 3, ()), "embedding"), 8),
        (mean([table, build(SMALL["mlp"], (2,), 3, STATS)], ["table"] * 2, [0.5, 0.5]), 32 + 32),
        (means, 8 + 8 + 8),
        (cascade.compose(one, segmenter), 8),
    ):
        x = [batch("mlp" if len(tensor.shape) == 2 else "backbone")[0] for tensor in model.inputs]
        x = x if len(x) > 1 else x[0]
        said, seen = model(x), observed(model)(x)
        for name, values in (said if isinstance(said, dict) else {"output": said}).items():
            np.testing.assert_allclose(seen[name], values, rtol=1e-5, atol=1e-6)
        assert seen["embedding"].shape == (3, features)
    assert observed(segmenter) is None


def test_features_that_are_unknown_move_what_a_fusion_says_and_not_how_unusual_its_image_is():
    table, images = build(SMALL["mlp"], (2,), 3, STATS), build(SMALL["convnet"], (SIDE, SIDE, 3), 3, STATS)
    model = observed(fusion.compose([table, images], fusion.early([table, images], 3, ()), "embedding"))
    known, (pixels, _) = np.array([[40.0, 1.0], [3.0, 0.0], [80.0, 1.0]], np.float32), batch("backbone")
    one, other = model([known, pixels]), model([np.full_like(known, np.nan), pixels])
    assert np.abs(np.asarray(one["output"]) - np.asarray(other["output"])).max() > 1e-3
    np.testing.assert_array_equal(one["embedding"], other["embedding"])
