"""A SAGAN's layers against closed forms."""

import keras
import numpy as np
import pytest
from keras import ops

from medpipe.errors import SettingError
from medpipe.generation import diffaugment, losses
from medpipe.generation.layers import ClassBatchNorm, SelfAttention, SpectralConv2D, SpectralDense
from medpipe.generation.sagan import blocks_of, build_discriminator, build_generator

RNG = np.random.default_rng(0)


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "inputs"), [(SpectralDense(5), random(2, 7)), (SpectralConv2D(4, 3), random(2, 6, 6, 3))]
)
def test_a_kernel_is_divided_by_the_largest_singular_value_that_numpy_finds(layer, inputs):
    layer(inputs)
    kernel = random(*layer.kernel.shape)
    layer.kernel.assign(kernel)
    for _ in range(300):
        layer(inputs, training=True)
    before = np.array(layer.u)
    largest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
    np.testing.assert_allclose(ops.convert_to_numpy(layer.normalised(False)), kernel / largest, rtol=1e-4)
    kernel /= largest
    expected = ops.conv(inputs, kernel, padding="same") if kernel.ndim == 4 else inputs @ kernel
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(before, layer.u)  # inference leaves the vector as it is


def test_an_iteration_is_the_power_methods():
    layer = SpectralDense(3)
    layer(random(1, 4))
    kernel, u = random(4, 3), np.array([1, 0, 0], np.float32)
    layer.kernel.assign(kernel)
    layer.u.assign(u)
    v = kernel @ u / np.linalg.norm(kernel @ u)
    following = kernel.T @ v / np.linalg.norm(kernel.T @ v)
    np.testing.assert_allclose(layer.normalised(True), kernel / (v @ kernel @ following), rtol=1e-5)
    np.testing.assert_allclose(layer.u, following, rtol=1e-5)


def test_attention_is_what_numpy_makes_of_it_and_begins_as_the_identity():
    layer, x = SelfAttention(), random(2, 4, 6, 8)
    np.testing.assert_array_equal(layer(x), x)
    layer.factor.assign(0.7)
    kernels = {k: np.array(getattr(layer, k).normalised(False))[0, 0] for k in ("query", "key", "value", "out")}

    def pooled(y):
        return y.reshape(2, 2, 2, 3, 2, -1).max(axis=(2, 4)).reshape(2, 6, -1)

    query = (x @ kernels["query"]).reshape(2, 24, 1)
    key, value = pooled(x @ kernels["key"]), pooled(x @ kernels["value"])
    weights = np.exp(query @ key.transpose(0, 2, 1))
    weights /= weights.sum(axis=2, keepdims=True)
    expected = x + 0.7 * (weights @ value).reshape(2, 4, 6, 4) @ kernels["out"]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_scales_by_class_and_between_two_by_their_shares():
    layer, x = ClassBatchNorm(), random(6, 4, 4, 3)
    of = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 1]]
    layer([x, of])
    gamma, beta = random(2, 3), random(2, 3)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    standard = (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-4)
    for shares in (of, np.full((6, 2), 0.5, np.float32)):
        expected = standard * (shares @ gamma)[:, None, None] + (shares @ beta)[:, None, None]
        np.testing.assert_allclose(layer([x, shares], training=True), expected, rtol=1e-4, atol=1e-5)


def test_hinge_loss_by_hand():
    real, fake = np.array([2.0, 0.5, -1.0]), np.array([-3.0, 0.0, 1.0])
    assert float(losses.discriminator_loss(real, fake)) == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3)
    assert float(losses.generator_loss(fake)) == pytest.approx(2 / 3)


def test_diffaugment_in_the_middle_of_its_range_leaves_all_but_the_hole():
    images, numbers = random(1, 16, 16, 3), np.array([[0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0]], np.float32)
    found = ops.convert_to_numpy(diffaugment.augment(images, numbers))
    np.testing.assert_array_equal(found[0, :4, :4], 0)
    images[0, :4, :4] = 0
    np.testing.assert_allclose(found, images, atol=1e-5)


def test_diffaugment_moves_by_whole_pixels_and_fills_with_nothing():
    images = random(1, 16, 16, 3)
    # The least of the range moves up and to the left by an eighth of the side; the hole lies in the last corner.
    numbers = np.array([[0.5, 0.5, 0.5, 0.0, 0.0, 0.999, 0.999]], np.float32)
    found = ops.convert_to_numpy(diffaugment.augment(images, numbers))
    np.testing.assert_allclose(found[0, :12, :12], images[0, 2:14, 2:14], atol=1e-5)
    numbers[0, 3:] = [0.999, 0.999, 0, 0]
    found = ops.convert_to_numpy(diffaugment.augment(images, numbers))
    np.testing.assert_allclose(found[0, 4:, 4:], images[0, 2:14, 2:14], atol=1e-5)
    np.testing.assert_array_equal(found[0, :2], 0)


def test_diffaugment_changes_colour_as_its_paper_says():
    images = random(1, 16, 16, 3)
    numbers = np.array([[0.9, 0.25, 0.0, 0.5, 0.5, 0.0, 0.0]], np.float32)
    x = images + 0.4
    grey = x.mean(axis=3, keepdims=True)
    x = (x - grey) * 0.5 + grey
    expected = (x - x.mean()) * 0.5 + x.mean()
    found = ops.convert_to_numpy(diffaugment.augment(images, numbers))
    np.testing.assert_allclose(found[0, 4:, 4:], expected[0, 4:, 4:], atol=1e-5)


def parameters(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_the_published_nets_have_their_blocks_attention_and_parameters():
    """At 128 px with 64 channels and seven classes, counted by hand."""

    def conv(a, b, side, bias=1):
        return side * side * a * b + bias * b

    def attention(c):
        return conv(c, c // 8, 1, 0) * 2 + conv(c, c // 2, 1, 0) + conv(c // 2, c, 1, 0) + 1

    def up(a, b):
        return 2 * 7 * (a + b) + conv(a, b, 3) + conv(b, b, 3) + conv(a, b, 1)

    def down(a, b, shortcut=True):
        return conv(a, b, 3) + conv(b, b, 3) + shortcut * conv(a, b, 1)

    widths = [1024, 1024, 512, 256, 128, 64]
    expected = (128 + 1) * 4 * 4 * 1024 + sum(map(up, widths, widths[1:])) + attention(128) + 2 * 64 + conv(64, 3, 3)
    with keras.StatelessScope(initialize_variables=False):  # orthogonal matrices of that size take seconds
        generator, discriminator = build_generator(128, 7, 128, 64), build_discriminator(128, 7, 64)
    assert parameters(generator) == expected == 32_230_404
    widths = [3, 64, 128, 256, 512, 1024]
    expected = sum(map(down, widths, widths[1:])) + down(1024, 1024, False) + attention(64) + 1025 + 7 * 1024
    assert parameters(discriminator) == expected == 38_431_426
    for model in (generator, discriminator):
        [layer] = [layer for layer in model.layers if isinstance(layer, SelfAttention)]
        assert layer.output.shape[1:3] == (64, 64)
    assert generator.output_shape == (None, 128, 128, 3)
    assert discriminator.output_shape == (None,)


@pytest.mark.parametrize(("side", "blocks"), [(16, 2), (28, 2), (48, 3), (64, 4), (128, 5)])
def test_a_side_is_halved_to_between_four_and_seven(side, blocks):
    assert blocks_of(side) == blocks


@pytest.mark.parametrize("side", [8, 50])
def test_a_side_that_cannot_be_halved_is_refused(side):
    with pytest.raises(SettingError, match=f"images of {side} pixels"):
        blocks_of(side)
