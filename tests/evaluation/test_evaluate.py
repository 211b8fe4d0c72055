"""What evaluation measures of the rows that trained a model."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from declared import TASKS
from keras import layers

from medpipe.data.arrays import Arrays
from medpipe.evaluation.evaluate import evaluate
from medpipe.models.delivery import Delivery, OutOfFold
from medpipe.params import load
from medpipe.training.selection import select

CLASSES = TASKS["chest"].classes
SETS = ("train", "train", "train", "val", "test")


@pytest.fixture
def rows():
    count = 200
    place = np.random.default_rng(1).permutation(count)
    return pd.DataFrame(
        {
            "id": [f"chest-{i:03d}" for i in range(count)],
            "label": np.array(CLASSES)[place % 7 % 4],  # the last class is the rarest
            "group": [f"g{i}" for i in range(count)],
            "set": np.array(SETS)[np.arange(count) % 5],
            "source": "one",
        }
    )


@pytest.fixture
def arrays(rows, tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (len(rows), 8, 8, 3)).astype(np.uint8)
    np.save(tmp_path / "inputs.npy", pixels)
    meta = {"ids": rows["id"].tolist(), "variant": {}, "features": [], "digest": ""}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    return Arrays(tmp_path)


def delivered(settings):
    return Delivery("m", "chest", "classifier", CLASSES, ("chest-256",), ({},), ((),), {}, None, settings)


@pytest.fixture
def model():
    inputs = keras.Input((8, 8, 3))
    x = layers.Flatten(name="embedding")(inputs / 255.0)
    return keras.Model(inputs, layers.Dense(len(CLASSES), activation="softmax")(x))


@pytest.mark.parametrize(("undersample", "most"), [(None, None), (1.5, None), (1.5, 30)])
def test_the_training_rows_measured_are_those_that_trained(rows, arrays, model, settings, undersample, most):
    recipe = load().models["chest-mobilenetv2"].model_copy(update={"undersample": undersample, "merge": {}})
    numbers = rows["label"].map(CLASSES.index).to_numpy()
    trained, _ = select(rows, CLASSES, numbers, recipe, seed=3, most=most)
    described = recipe.model_dump(mode="json") | {"seed": 3, "rows": len(trained)}
    found = evaluate(delivered(described), model, rows, [arrays], TASKS["chest"], settings, 0)
    said = np.asarray(model(arrays.inputs[trained].astype(np.float32))).argmax(axis=1)
    measured = found.report["sets"]["train"]
    assert measured["rows"] == len(trained)
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (numbers[trained], said), 1)
    assert measured["confusion"] == expected.tolist()
    assert set(found.table["set"]) == {"val", "test"}
    assert found.report["only"] is None
    ranks = np.sort(found.table.loc[found.table["set"] == "val", "ood"])
    np.testing.assert_allclose(ranks, np.arange(2, 42) / 41)  # 40 validation rows, each one of those that lie as far
    test = found.table.loc[found.table["set"] == "test", "ood"]
    assert found.report["ood"]["flagged"]["test"]["value"] == (test <= 0.05).mean()


def test_a_cross_validated_model_has_no_training_figures(rows, arrays, model, settings):
    known = np.flatnonzero(rows["set"] != "test")
    output = np.full((len(known), len(CLASSES)), 0.25, np.float32)
    out_of_fold = OutOfFold(known, output)
    found = evaluate(
        delivered({"merge": {}, "seed": 3, "rows": 120, "folds": 3}), model, rows, [arrays], TASKS["chest"], settings,
        0, out_of_fold,
    )  # fmt: skip
    assert set(found.report["sets"]) == {"val", "test"}
    assert found.report["ood"] is found.detector is None
