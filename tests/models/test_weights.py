"""Weights from a file: both formats, and errors that name what does not fit."""

import hashlib
import shutil

import keras
import numpy as np
import pytest
from keras import layers

from medpipe.errors import InputError
from medpipe.models import weights


def network(filters=4, top=False, extra=False, classes=None):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(filters, 3, name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(filters, 3, name="second")(x)
    if extra:
        x = layers.Conv2D(filters, 3, name="third")(x)
    if top:
        x = layers.Dense(5, name="top")(layers.Flatten()(x))
    if classes:
        x = layers.Dense(classes, name="probabilities")(layers.GlobalAveragePooling2D(name="embedding")(x))
    return keras.Model(inputs, x, name="Net")


def delivered(path, model):
    model.save(path)
    return str(path)


@pytest.fixture(scope="module", params=["saved.weights.h5", "saved.h5"])
def saved(request, tmp_path_factory):
    model = network()
    path = tmp_path_factory.mktemp("weights") / request.param
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return model, path


def test_a_file_gives_its_weights(saved):
    model, path = saved
    other = network()
    weights.load(other, str(path))
    for loaded, stored in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, stored)


def test_another_width_names_the_first_layer_and_both_shapes(saved):
    message = r"saved.* does not fit Net: layer 'first' .*\(3, 3, 3, 6\).* the file has .*\(3, 3, 3, 4\)"
    with pytest.raises(InputError, match=message):
        weights.load(network(filters=6), str(saved[1]))


def test_a_deeper_network_names_the_layer_that_is_not_there(saved):
    with pytest.raises(InputError, match="layer 'third' .* the file has none"):
        weights.load(network(extra=True), str(saved[1]))


def test_a_legacy_file_with_a_classifier_is_refused(tmp_path):
    network(top=True).save(tmp_path / "top.h5")
    with pytest.raises(InputError, match="has more layers than Net; save it without classifier"):
        weights.load(network(), str(tmp_path / "top.h5"))


def test_a_name_that_hides_the_format_is_refused(saved, tmp_path):
    _, path = saved
    new = path.name.endswith(".weights.h5")
    other, right = ("x.h5", r"name it \.weights\.h5") if new else ("x.weights.h5", r"name it \.h5")
    shutil.copy(path, tmp_path / other)
    with pytest.raises(InputError, match=right):
        weights.load(network(), str(tmp_path / other))


def test_no_file_and_no_hdf5_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.h5 not found"):
        weights.load(network(), str(tmp_path / "none.h5"))
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(InputError, match="is no HDF5 file"):
        weights.load(network(), str(tmp_path / "text.weights.h5"))


def test_a_delivered_model_gives_its_backbone_whatever_its_layers_are_called(tmp_path):
    model = network(classes=7)
    renamed = keras.models.clone_model(model, clone_function=lambda layer: type(layer).from_config(
        layer.get_config() | ({} if layer.name == "embedding" else {"name": f"other_{layer.name}"})
    ))  # fmt: skip
    other = network()
    weights.load(other, delivered(tmp_path / "model.keras", renamed))
    for loaded, stored in zip(other.get_weights(), renamed.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(loaded, stored)


def test_a_delivered_model_that_does_not_fit_names_the_first_layer_and_both_shapes(tmp_path):
    path = delivered(tmp_path / "model.keras", network(classes=7))
    message = (
        r"model\.keras does not fit Net: where this has layer 'first' \(Conv2D\) with weights of shape "
        r"\[\(3, 3, 3, 6\), \(6,\)\], it has layer 'first' \(Conv2D\) with weights of shape \[\(3, 3, 3, 4\), \(4,\)\]"
    )
    with pytest.raises(InputError, match=message):
        weights.load(network(filters=6), path)
    with pytest.raises(InputError, match=r"has layer 'third' .*, it has no further layer"):
        weights.load(network(extra=True), path)
    deeper = delivered(tmp_path / "deeper.keras", network(extra=True, classes=7))
    with pytest.raises(InputError, match=r"deeper\.keras does not fit Net: it has more layers, .* 'third'"):
        weights.load(network(), deeper)


def test_a_model_without_a_backbone_of_its_own_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"model\.keras has no layer 'embedding'"):
        weights.load(network(), delivered(tmp_path / "model.keras", network()))
    inputs = keras.Input((8, 8, 3))
    fusion = keras.Model(inputs, network(classes=7)(inputs))
    with pytest.raises(InputError, match=r"fusion\.keras is made of several models \(Net\): give one of those"):
        weights.load(network(), delivered(tmp_path / "fusion.keras", fusion))


def test_code_in_a_file_is_not_run(tmp_path):
    inputs = keras.Input((8, 8, 3))
    path = delivered(tmp_path / "model.keras", keras.Model(inputs, layers.Lambda(lambda x: x + 1)(inputs)))
    with pytest.raises(InputError, match=r"model\.keras is no model that Keras can load: .*[Ll]ambda"):
        weights.load(network(), path)
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(InputError, match=r"text\.keras is no model that Keras can load"):
        weights.load(network(), str(tmp_path / "text.keras"))


def test_lineage_follows_the_files_content(tmp_path):
    path = tmp_path / "any.weights.h5"
    path.write_bytes(b"one")
    assert weights.lineage(str(path)) == {"sha256": hashlib.sha256(b"one").hexdigest()}
    assert weights.lineage("imagenet") == weights.lineage(None) == {}
