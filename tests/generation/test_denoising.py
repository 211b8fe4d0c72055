"""EDM's equations against closed forms: of data from one Gaussian the best denoiser and the path to it are known."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import ops
from small_learners import CLASSES, SIDE, UNET

from medpipe import params
from medpipe.errors import SettingError
from medpipe.generation import edm, unet
from medpipe.generation.denoising import DATA, HIGHEST, LOWEST, denoised, draw_levels, levels, solve
from medpipe.generation.unet import Attention, Waves

RNG = np.random.default_rng(0)
MEAN, DEVIATION = 0.3, 0.4


def best(images, level):
    return (DEVIATION**2 * images + level**2 * MEAN) / (DEVIATION**2 + level**2)


def exact(images):
    """Where the path that begins at `images` ends."""
    return MEAN + (images - MEAN) * DEVIATION / np.sqrt(DEVIATION**2 + HIGHEST**2)


def test_the_network_is_shown_and_gives_values_around_one():
    """Of images with deviation DATA: what it is shown has deviation 1, and so has what it would have to give."""
    images = DATA * RNG.standard_normal((20_000, 1, 1, 1))
    for level in (0.01, 0.5, 20.0):
        noisy, shown = images + level * RNG.standard_normal(images.shape), []

        def network(parts, shown=shown):
            shown += parts
            return parts[0] * 0

        levels = np.full(len(images), level)
        kept = ops.convert_to_numpy(denoised(network, noisy, levels, None))
        gain = ops.convert_to_numpy(denoised(lambda parts: parts[0] * 0 + 1, noisy, levels, None)) - kept
        assert np.std(shown[0]) == pytest.approx(1, rel=0.02)
        assert np.std((images - kept) / gain) == pytest.approx(1, rel=0.02)
        np.testing.assert_allclose(shown[1], np.log(level) / 4)


def test_without_noise_the_denoiser_is_the_identity_whatever_the_network_says():
    images = RNG.uniform(-1, 1, (2, 3, 3, 3))
    found = denoised(lambda parts: ops.cos(17 * parts[0]), images, np.full(2, 1e-7), None)
    np.testing.assert_allclose(found, images, atol=1e-6)


def test_levels_run_from_the_highest_to_the_lowest_and_to_nothing():
    found = levels(5)
    assert (found[0], found[-2], found[-1]) == (pytest.approx(HIGHEST), pytest.approx(LOWEST), 0)
    np.testing.assert_allclose(np.diff(found[:-1] ** (1 / 7)), (LOWEST ** (1 / 7) - HIGHEST ** (1 / 7)) / 4)
    assert levels(1).tolist() == pytest.approx([HIGHEST, 0])
    logs = np.log(draw_levels(100_000, RNG))
    assert (logs.mean(), logs.std()) == pytest.approx((-1.2, 1.2), abs=0.02)


def test_noise_becomes_the_datas_mean_and_deviation():
    noise = HIGHEST * RNG.standard_normal(20_000)
    found = ops.convert_to_numpy(solve(best, ops.convert_to_tensor(noise), levels(64)))
    np.testing.assert_allclose(found, exact(noise), atol=0.01)
    assert (found.mean(), found.std()) == pytest.approx((MEAN, DEVIATION), abs=0.01)


def test_the_solver_is_of_second_order():
    noise = ops.convert_to_tensor(HIGHEST * np.array([-2.0, -0.5, 1.0]))
    errors = [np.abs(np.array(solve(best, noise, levels(steps))) - exact(noise)).max() for steps in (32, 64, 128)]
    for error, of_half in pairwise(errors):
        assert error / of_half == pytest.approx(4, rel=0.1)


def test_an_untrained_model_draws_its_noise_at_the_deviation_of_the_data():
    """Its network says nothing, which is right for data around 0 of deviation DATA."""
    noise = RNG.standard_normal((2, SIDE * SIDE * 3)).astype(np.float32)
    model = edm.build(unet.build(UNET, SIDE, CLASSES), 32)
    found = model.predict_on_batch([noise, np.eye(CLASSES, dtype=np.float32)])
    np.testing.assert_allclose(found, (DATA * noise).clip(-1, 1).reshape(2, SIDE, SIDE, 3), atol=0.02)


def test_attention_is_what_numpy_makes_of_it_and_begins_as_the_identity():
    layer, x = Attention(), RNG.standard_normal((2, 2, 3, 8)).astype(np.float32)
    np.testing.assert_array_equal(layer(x), x)
    weights = [RNG.standard_normal(value.shape) for value in layer.get_weights()]
    layer.set_weights(weights)
    scale, shift, inward, bias, outward, last = weights
    groups = x.reshape(2, 6, 2, 4)
    standard = groups - groups.mean(axis=(1, 3), keepdims=True)
    standard /= np.sqrt(groups.var(axis=(1, 3), keepdims=True) + 1e-5)
    query, key, value = np.moveaxis(
        ((standard.reshape(2, 6, 8) * scale + shift) @ inward + bias).reshape(2, 6, 3, 8), 2, 0
    )
    shares = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(8))
    shares /= shares.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(layer(x), x + (shares @ value @ outward + last).reshape(x.shape), rtol=1e-3, atol=1e-3)


def test_a_level_is_told_by_waves_of_several_lengths():
    found = ops.convert_to_numpy(Waves(6)(np.array([0.0, 0.7], np.float32)))
    angles = 0.7 * np.array([1, 0.01, 0.0001])
    np.testing.assert_allclose(found, [[1, 1, 1, 0, 0, 0], [*np.cos(angles), *np.sin(angles)]], rtol=1e-5)


def test_a_side_that_cannot_be_halved_so_often_is_refused():
    with pytest.raises(SettingError, match="multipliers: 4 levels want a side of a multiple of 16 pixels, is 20"):
        unet.build(params.Unet(channels=4, multipliers=(1, 1, 1, 1), blocks=1, attention=0), 20, 2)


def test_the_shipped_network_has_its_attention_and_parameters():
    """At 128 px with 96 channels and seven classes, counted by hand."""

    def dense(a, b):
        return a * b + b

    def conv(a, b, side):
        return side * side * a * b + b

    def block(a, b):
        return 2 * a + conv(a, b, 3) + 2 * dense(384, b) + 2 * b + conv(b, b, 3) + (a != b) * conv(a, b, 1)

    def attention(c):
        return 2 * c + dense(c, 3 * c) + dense(c, c)

    widths = [96, 192, 384]
    down = sum(block(a, b) + block(b, b) for a, b in zip([96, *widths], widths, strict=False))
    up = sum(block(a + b, b) + block(2 * b, b) for a, b in zip([192, 384, 384], widths, strict=True))
    ends = conv(3, 96, 4) + 2 * 96 + conv(96, 3, 4) + dense(384, 3)
    known = dense(96, 384) + dense(384, 384) + 7 * 384
    with keras.StatelessScope(initialize_variables=False):
        network = unet.build(params.load().generators["skin-edm"].network, 128, 7)
    found = sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
    assert found == down + up + 4 * attention(384) + ends + known == 22_573_350
    sides = [layer.output.shape[1] for layer in network.layers if isinstance(layer, Attention)]
    assert sides == [16] * 4
