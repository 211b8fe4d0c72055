"""Weights from a file: both formats, and errors that name what does not fit."""

import shutil

import keras
import numpy as np
import pytest
from keras import layers

from medpipe.errors import InputError
from medpipe.models import weights


def network(filters=4, top=False, extra=False):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(filters, 3, name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(filters, 3, name="second")(x)
    if extra:
        x = layers.Conv2D(filters, 3, name="third")(x)
    if top:
        x = layers.Dense(5, name="top")(layers.Flatten()(x))
    return keras.Model(inputs, x, name="Net")


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
