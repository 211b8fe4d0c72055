"""Every architecture can be built and trained, and has the published parameters."""

import keras
import numpy as np
import pytest
from keras import ops
from small_models import ARCHITECTURES, PUBLISHED, SIDE, SMALL, STATS, batch

from medpipe import backend
from medpipe.errors import InputError
from medpipe.models import resnet, resunet
from medpipe.models.build import build
from medpipe.models.losses import build_loss

OUTPUTS = {"resnet": (1,), "resunet": (64, 64, 1)}


def check_probabilities(architecture, values):
    assert values.dtype == "float32"
    assert np.all((values >= 0) & (values <= 1))
    if architecture not in OUTPUTS:
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_step_trains_in_mixed_precision(architecture):
    backend.start(1, "mixed_bfloat16")
    recipe = SMALL[architecture]
    inputs, targets = batch(architecture)
    model = build(recipe, inputs.shape[1:], 3, STATS)
    model.compile(optimizer="adam", loss=build_loss(recipe.loss), run_eagerly=True)
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    assert np.isfinite(model.train_on_batch(inputs, targets))
    after = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    changed = [not np.array_equal(old, new) for old, new in zip(before, after, strict=True)]
    # Relu may be dead over so small a batch, and a bias before batch normalisation has no gradient.
    assert np.mean(changed) > 0.7
    check_probabilities(architecture, np.asarray(model(inputs)))


def test_float16_outputs_are_float32():
    backend.start(1, "mixed_float16")
    inputs, _ = batch("convnet")
    model = build(SMALL["convnet"], inputs.shape[1:], 3, STATS)
    assert model.get_layer("embedding").compute_dtype == "float16"
    check_probabilities("convnet", np.asarray(model(inputs)))


def test_resunet_has_the_published_parameters():
    model = resunet.build((256, 256, 3), 2)
    assert model.count_params() == 1_210_513
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 1_206_129


def test_resunet_of_several_classes_is_a_softmax_on_the_same_network():
    model = resunet.build((SIDE, SIDE, 3), 4)
    assert model.count_params() == 1_210_513 + 3 * (16 + 1)  # three outputs more, of 16 channels
    np.testing.assert_allclose(np.asarray(model(batch("resunet")[0])).sum(axis=-1), 1, atol=1e-5)


def test_resnet_has_the_published_parameters():
    model = resnet.build(PUBLISHED["brain-classifier"].network, (256, 256, 3))
    assert model.count_params() == 8_880_897


@pytest.mark.parametrize("architecture", ["resnet", "resunet"])
def test_residual_blocks_begin_he_normal_and_the_segmenter_normalises_after_relu(architecture):
    model = build(PUBLISHED["brain-classifier" if architecture == "resnet" else "brain-resunet"], (64, 64, 3), 2, {})
    kinds = [type(layer).__name__ for layer in model.layers]
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    he = [isinstance(layer.kernel_initializer, keras.initializers.HeNormal) for layer in convolutions]
    if architecture == "resnet":  # two convolutions, three blocks of three, one convolution
        assert he == [False] * 2 + [True] * 9 + [False]
        assert kinds[2:6] == ["Conv2D", "BatchNormalization", "MaxPooling2D", "ReLU"]
    else:  # two convolutions, eight blocks of three, the output
        assert he == [True] * 2 + [True] * 24 + [False]
        assert kinds[2:6] == ["Conv2D", "BatchNormalization"] * 2
        assert all(layer.activation is keras.activations.relu for layer in convolutions[:2])


def test_resunet_standardises_each_slice():
    model = resunet.build((SIDE, SIDE, 3), 2)
    inputs, _ = batch("resunet")
    standardised = keras.Model(model.inputs[0], model.get_layer("standardise").output)
    values = np.asarray(standardised(inputs))
    np.testing.assert_allclose(values.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=(1, 2, 3)), 1, atol=1e-4)
    np.testing.assert_allclose(np.asarray(model(inputs)), np.asarray(model(inputs * 0.5 + 30)), atol=1e-4)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="multiples of 16, are 64 x 40"):
        resunet.build((64, 40, 3), 2)
    network = PUBLISHED["brain-classifier"].network
    with pytest.raises(InputError, match="at least 30, are 29 x 64"):
        resnet.build(network, (29, 64, 3))
    assert resnet.build(network, (30, 30, 3)).output_shape == (None, 1)
