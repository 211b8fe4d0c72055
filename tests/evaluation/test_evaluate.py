"""What evaluation measures of the rows that trained a model."""

import json
from dataclasses import replace
from io import BytesIO

import keras
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, TASKS
from keras import layers
from PIL import Image

from medpipe.data.arrays import Arrays
from medpipe.evaluation.evaluate import evaluate
from medpipe.evaluation.mistakes import PICTURES
from medpipe.models.delivery import GRAPH, Delivery, OutOfFold
from medpipe.models.predict import predict
from medpipe.params import Decide, load
from medpipe.serving.predictor import Predictor
from medpipe.training.selection import select

CLASSES = TASKS["chest"].classes
SETS = ("train", "train", "train", "val", "test")
VARIANT = {"task": "chest", "kind": "images", "square": False, "sizes": (8,), "equalise": False}
VARIANT |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}


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
    x = layers.Flatten(name="embedding")(layers.Rescaling(1 / 255)(inputs))
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
    labels = rows.set_index("id")["label"]
    assert all(error["truth"] == labels[error["id"]] != error["said"] for error in found.errors)
    confusion = np.array(found.report["sets"]["test"]["confusion"])
    assert len(found.errors) == min(confusion.sum() - confusion.trace(), PICTURES) > 0


def test_what_is_served_is_what_evaluate_tabled(rows, arrays, model, settings, tmp_path):
    """Temperature, decisions and sets, of a model that is far too sure."""
    model.layers[-1].set_weights([30 * weights for weights in model.layers[-1].get_weights()])
    asked = settings.model_copy(
        update={
            "flips": ("vertical",),
            "decide": {"chest": Decide(of="COVID", rule={"cost": 2}, error=0.6, coverage=0.7)},
        }
    )
    made = replace(delivered({"merge": {}, "seed": 3, "rows": 120}), variants=(VARIANT,))
    found = evaluate(made, model, rows, [arrays], TASKS["chest"], asked, 0)
    assert found.headline["temperature"] > 1.5
    assert found.headline["log_loss"] < found.report["sets"]["test"]["calibration"]["before"]["log_loss"]["value"]
    made.write(tmp_path, model)
    (tmp_path / GRAPH).write_bytes(found.graph)
    test = found.table[found.table["set"] == "test"]
    places = rows.index[rows["set"] == "test"]
    answer = Predictor(tmp_path, max_pixels=64, **found.report["served"]).predict(
        pd.DataFrame({"image": [png(arrays.inputs[place]) for place in places]})
    )
    p = test[[f"p_{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(answer[list(CLASSES)], p, atol=2e-5)  # float32: 1e-7 of logits of about 100
    said = predict(model, [arrays.inputs], places.to_numpy(), flips=("vertical",))["output"]
    assert answer["label"].tolist() == [CLASSES[i] for i in said.argmax(axis=1)]
    counted = pd.crosstab(test["label"].to_numpy(), answer["decision"].to_numpy())
    table = pd.DataFrame(found.report["sets"]["test"]["decisions"]["decided"], CLASSES, [*CLASSES, "refer"])
    assert (counted.reindex(index=table.index, columns=table.columns, fill_value=0) == table).all(axis=None)
    size = answer["set"].map(lambda named: len(named.split(", ")) if named else 0)
    assert size.mean() == found.report["sets"]["test"]["decisions"]["figures"]["set_size"]["value"]


def png(pixels):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


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
