"""Grad-CAM and Grad-CAM++ by hand, by finite differences, in models made of models, and of weights at random."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.stats import spearmanr
from small_models import SIDE, SMALL, STATS, batch, change, pixels

from medpipe.errors import InputError
from medpipe.explain.cam import grad_cam, grad_cam_plus_plus
from medpipe.explain.cut import cuts
from medpipe.explain.faithfulness import pointing_game
from medpipe.explain.maps import enlarge, scale
from medpipe.models import cascade, fusion
from medpipe.models.build import build
from medpipe.models.mean import mean


def small(name, classes=3):
    return build(SMALL[name], (2,) if name == "mlp" else (SIDE, SIDE, 3), classes, STATS)


def tensors(inputs):
    return [ops.convert_to_tensor(part) for part in inputs]


def values(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize(("units", "activation"), [(2, "softmax"), (1, "sigmoid")])
def test_a_network_of_two_layers_by_hand(units, activation):
    """Of A_k = max(0, f_k x), with score w_k mean(A_k): Grad-CAM weighs A_k by w_k; Grad-CAM++, whose alpha is
    1 / (2 + w_k mean(A_k)) at each place, by max(0, w_k) alpha."""
    filters, weights = np.array([0.5, 1.0, -1.0]), np.array([[1.0, -2.0], [-0.5, 3.0], [2.0, -1.0]])
    if units == 1:
        weights = np.stack([-weights[:, 1], weights[:, 1]], axis=1)  # of one logit, by its sign
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(3, 1, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(units, activation=activation)(x))
    model.layers[1].set_weights([filters.reshape(1, 1, 1, 3), np.zeros(3)])
    model.layers[-1].set_weights([weights[:, -units:], np.array([0.3, -0.3])[:units]])
    images = np.random.default_rng(0).normal(0, 40, (4, 4, 4, 1))  # at which softmax and sigmoid saturate
    classes = [0, 1, 1, 0]
    a = np.maximum(images * filters, 0)  # (4, 4, 4, 3)
    w = weights.T[classes][:, None, None, :]
    alpha = 1 / (2 + w * a.mean(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(grad_cam(model, [images], classes), scale((w * a).sum(-1)), rtol=1e-5, atol=1e-6)
    expected = scale((np.maximum(w, 0) * alpha * a).sum(-1))
    np.testing.assert_allclose(grad_cam_plus_plus(model, [images], classes), expected, rtol=1e-5, atol=1e-6)


def test_finite_differences_give_the_same():
    """Of a convolutional network, whose layers behind the last normalisation are done in NumPy here."""
    model, images, classes = small("convnet"), pixels(), [2, 0, 1]
    *_, last = (layer for layer in model.layers if isinstance(layer, layers.BatchNormalization))
    a = values(keras.Model(model.input, last.output)(images)).astype(np.float64)  # (3, 16, 16, 8)
    (hidden, bias), (kernel, offset) = (
        layer.get_weights() for layer in model.layers if isinstance(layer, layers.Dense)
    )

    def score(x, number):  # (h, w, channels)
        pooled = np.maximum(x, 0).reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max(axis=(1, 3)).mean(axis=(0, 1))
        return (np.maximum(pooled @ hidden + bias, 0) @ kernel + offset)[number]

    gradient = np.empty_like(a)
    for row, number in enumerate(classes):
        for place in np.ndindex(*a.shape[1:]):
            step = np.zeros(a.shape[1:])
            step[place] = 1e-7
            gradient[(row, *place)] = (score(a[row] + step, number) - score(a[row] - step, number)) / 2e-7
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    expected = scale(enlarge(np.maximum((weights * a).sum(-1), 0), (SIDE, SIDE)))
    np.testing.assert_allclose(grad_cam(model, [images], classes, last.name), expected, atol=1e-3)
    below = 2 * gradient**2 + a.sum(axis=(1, 2), keepdims=True) * gradient**3
    alpha = np.where(below == 0, 0, gradient**2 / np.where(below == 0, 1, below))
    weights = (alpha * np.maximum(gradient, 0)).sum(axis=(1, 2), keepdims=True)
    expected = scale(enlarge(np.maximum((weights * a).sum(-1), 0), (SIDE, SIDE)))
    np.testing.assert_allclose(grad_cam_plus_plus(model, [images], classes, last.name), expected, atol=1e-3)


def test_the_layer_is_the_last_before_pooling_or_the_named_one():
    model = small("convnet")
    last = {type(layer): layer.name for layer in model.layers}
    names = (None, last[layers.ReLU], last[layers.MaxPooling2D])
    chosen = [grad_cam(model, [pixels()], [0, 1, 2], name) for name in names]
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert (chosen[0] != chosen[2]).any()
    assert chosen[0].shape == (3, SIDE, SIDE)
    assert chosen[0].dtype == np.float32
    [cut] = cuts(small("backbone"), None)  # its last map has one place, of 32 pixels
    assert cut.features(tensors([pixels()])).shape == (3, 4, 4, 96)


@pytest.mark.parametrize("name", ["backbone", "convnet", "resnet"])
def test_a_cut_model_says_the_same_wherever_it_is_cut(name):
    """In the branches of residual blocks, too."""
    model = small(name)
    maps = [layer.name for layer in model.layers if len(layer.output.shape) == 4]
    for layer in (*maps[2 : -1 : len(maps) // 4], maps[-1]):
        [cut] = cuts(model, layer)
        inputs = tensors([pixels()])
        scores = cut.scores(cut.features(inputs), inputs)
        said = ops.sigmoid(scores) if name == "resnet" else ops.softmax(scores)
        np.testing.assert_allclose(values(said), values(model(pixels())), atol=1e-5)


@pytest.fixture
def members():
    return small("mlp"), small("convnet"), [batch("mlp")[0], pixels()]


def onward(image, at, kernel):
    """The image's network with a linear layer behind it, which the fusion's head is to it."""
    read = fusion.features(image, at)
    linear = layers.Dense(3, use_bias=False)
    model = keras.Model(read.input, linear(read.output))
    linear.set_weights([kernel])
    return model


@pytest.mark.parametrize(("make", "at"), [(fusion.late, "output"), (fusion.early, "embedding")])
def test_a_fusions_map_is_that_of_its_image_through_its_head(members, make, at):
    table, image, inputs = members
    head = make([table, image], 3, ())
    kernel = head.layers[-1].get_weights()[0][fusion.features(table, at).output_shape[-1] :]
    found = grad_cam(fusion.compose([table, image], head, at), inputs, [0, 1, 2])
    expected = grad_cam(onward(image, at, kernel), inputs[1:], [0, 1, 2])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_means_map_is_the_mean_of_its_members_maps(members):
    """Of a fusion, a network of images, one of tables and one of two classes by a sigmoid."""
    table, image, inputs = members
    fused = fusion.compose([table, image], fusion.early([table, image], 2, (5,)), "embedding")
    binary, other = small("resnet"), small("mlp", 2)
    whole = mean([fused, binary, other], ["table", "image", "image", "table"], [0.2, 0.3, 0.5])
    classes = [0, 1, 1]
    expected = 0.2 * grad_cam(fused, inputs, classes) + 0.3 * grad_cam(binary, inputs[1:], classes)
    np.testing.assert_allclose(grad_cam(whole, inputs, classes), scale(expected), atol=1e-5)


def test_a_fusion_of_a_cross_validated_network_has_a_map_of_each_fold(members, tmp_path):
    table, image, inputs = members
    folds = mean([image, small("convnet")], ["image"] * 2, [0.25, 0.75])
    whole = fusion.compose([table, folds], fusion.late([table, folds], 3, ()), "output")
    whole.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    said, read = values(whole(inputs)), tensors(inputs)
    found = cuts(again, None)
    assert sorted(cut.weight for cut in found) == [0.25, 0.75]
    for cut in found:
        np.testing.assert_allclose(values(ops.softmax(cut.scores(cut.features(read), read))), said, atol=1e-5)
    np.testing.assert_allclose(grad_cam(again, inputs, [0, 1, 2]), grad_cam(whole, inputs, [0, 1, 2]), atol=1e-5)


def test_what_has_no_heat_map_says_what_to_do():
    image, table = pixels(), batch("mlp")[0]
    for model, inputs, message in (
        (small("mlp"), table, "reads no image; SHAP"),
        (small("resunet"), image, "a mask, which is its explanation; take a classifier"),
        (cascade.compose(small("resnet"), small("resunet")), image, "a mask, which is its explanation"),
    ):
        with pytest.raises(InputError, match=message):
            grad_cam(model, [inputs], [0, 0, 0])
    with pytest.raises(InputError, match=r"convnet has no feature map 'conv5'; its last ones are .*max_pooling2d"):
        grad_cam(small("convnet"), [image], [0, 0, 0], "conv5")
    x = keras.Input((8, 8, 1))
    headless = keras.Model(x, layers.GlobalAveragePooling2D()(x))
    with pytest.raises(InputError, match=r"ends in global_average_pooling2d.*; it needs a Dense layer"):
        grad_cam(headless, [image], [0, 0, 0])


@pytest.fixture(scope="module")
def trained():
    """A small network that has learnt to tell images with a red patch from images with a blue one, beside white ones;
    its settings, images, labels and masks of the patches."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (240, 24, 24, 3)).astype(np.float32)
    masks, labels = np.zeros(images.shape[:3], bool), np.arange(len(images)) % 2
    for image, mask, label in zip(images, masks, labels, strict=True):
        for y, x in rng.integers(0, 21, (6, 2)):
            image[y : y + 4, x : x + 4] = 255
        y, x = rng.integers(1, 17, 2)
        image[y : y + 6, x : x + 6] = [(255, 0, 0), (0, 0, 255)][label]
        mask[y - 1 : y + 7, x - 1 : x + 7] = True  # a place of the feature map has two pixels
    keras.utils.set_random_seed(3)
    settings = change(SMALL["convnet"], filters=(8, 16), units=16, dropout=0.0)
    model = build(settings, images.shape[1:], 2, {})
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(images[:200], labels[:200], batch_size=20, epochs=8, verbose=0)
    return model, settings, images[200:], labels[200:], masks[200:]


@pytest.mark.parametrize("method", [grad_cam, grad_cam_plus_plus])
def test_maps_show_what_was_learnt(trained, method):
    """And with weights at random the map is another one: the sanity check of Adebayo et al. 2018, arXiv 1810.03292."""
    model, settings, images, labels, masks = trained
    assert (model.predict(images, verbose=0).argmax(axis=1) == labels).mean() > 0.9
    found = method(model, [images], labels)
    assert pointing_game(found, masks).mean() > 0.9
    similar = []
    for seed in range(4):
        keras.utils.set_random_seed(100 + seed)
        drawn = method(build(settings, images.shape[1:], 2, {}), [images], labels)
        similar += [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(found, drawn, strict=True) if b.any()]
    assert abs(np.mean(similar)) < 0.35
