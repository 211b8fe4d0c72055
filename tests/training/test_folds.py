"""Cross-validation: folds by group, every row predicted by the one model that has not seen it."""

import json
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from declared import TASKS, evaluate_settings
from small_training import ignore, images, recipe

from medpipe import backend
from medpipe.data.arrays import Arrays
from medpipe.errors import SettingError
from medpipe.evaluation.evaluate import evaluate
from medpipe.models.temperature import temper
from medpipe.training.assemble import Training
from medpipe.training.folds import cross_validate, deal_folds

CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
ROWS, FOLDS = 96, 3


@pytest.fixture
def training(tmp_path):
    """96 images in groups of two, of which 12 are for testing; a ConvNet of two small blocks."""
    data = images(ROWS, classes=4)
    labels = (np.arange(ROWS) // 2) % 4
    pixels = data.inputs[
        np.argsort(data.targets.argmax(1), kind="stable")[np.argsort(np.argsort(labels, kind="stable"))]
    ]
    folder = tmp_path / "chest-256"
    folder.mkdir()
    np.save(folder / "inputs.npy", pixels)
    ids = [f"{i:02}" for i in range(ROWS)]
    variant = {"task": "chest", "kind": "images", "square": False, "sizes": [16], "equalise": False}
    (folder / "meta.json").write_text(json.dumps({"ids": ids, "variant": variant, "features": [], "digest": "0"}))
    sets = ["test" if i % 48 < 8 else "val" if i % 48 < 16 else "train" for i in range(ROWS)]
    rows = pd.DataFrame({"id": ids, "set": sets, "group": np.arange(ROWS) // 2})
    rows["label"], rows["source"] = np.array(CLASSES)[labels], "a"
    settings = recipe(
        "chest-convnet", network={"filters": (4,), "units": 4}, epochs=2, batch=16, lr=0.01, folds=FOLDS,
        early_stopping=None,
    )  # fmt: skip
    truth = np.eye(4, dtype=np.float32)[labels]
    chosen = [np.flatnonzero(rows["set"] == name) for name in ("train", "val")]
    return Training(settings, rows, Arrays(folder), CLASSES, labels, truth, {}, *chosen, None)


def run(training, folder, on_epoch=ignore, folds=FOLDS):
    folder.mkdir(exist_ok=True)
    return cross_validate(training, folds, seed=3, most=None, checkpoint=folder / "state.npz", on_epoch=on_epoch)


def test_groups_stay_together_and_every_class_is_in_every_fold(training):
    fold = deal_folds(training.rows, training.labels, CLASSES, FOLDS, 1)
    assert ((fold == -1) == (training.rows["set"] == "test")).all()
    assert (training.rows.assign(fold=fold).groupby("group")["fold"].nunique() == 1).all()
    counts = pd.crosstab(fold[fold >= 0], training.labels[fold >= 0]).to_numpy()
    assert counts.shape == (FOLDS, 4)
    assert counts.min() > 0
    assert not np.array_equal(fold, deal_folds(training.rows, training.labels, CLASSES, FOLDS, 2))


def test_a_fold_without_members_is_refused(training):
    with pytest.raises(SettingError, match=r"folds: must be at most 10, the groups .* of class COVID, is 11"):
        deal_folds(training.rows, training.labels, CLASSES, 11, 1)


def test_each_row_is_predicted_by_the_model_that_has_not_seen_it(training, tmp_path):
    logged = []
    model, history, found = run(training, tmp_path / "a", lambda epoch, logs: logged.append((epoch, set(logs))))
    assert found.rows.tolist() == np.flatnonzero(training.rows["set"] != "test").tolist()
    fold = deal_folds(training.rows, training.labels, CLASSES, FOLDS, 3)
    pixels = training.arrays.inputs.astype(np.float32)
    members = [model.get_layer(f"member_{i + 1}") for i in range(FOLDS)]
    said = np.stack([np.asarray(member(pixels)) for member in members])
    np.testing.assert_allclose(found.output, said[fold[found.rows], found.rows], atol=1e-5)
    np.testing.assert_allclose(np.asarray(model(pixels)), said.mean(axis=0), atol=1e-6)
    assert np.abs(said[0] - said[1]).max() > 1e-3
    assert history["epoch"].tolist() == [1, 2]
    assert {f"fold-{i}/val_loss" for i in (1, 2, 3)} <= set(history)
    assert [epoch for epoch, _ in logged] == [1, 2] * FOLDS
    assert "fold-2/val_loss" in logged[2][1]

    # Evaluation shows as validation what was predicted out of fold, and nothing of the mean model on rows it knows.
    delivered = training.delivery("convnet", {"merge": {}})
    settings = evaluate_settings(20)
    table = evaluate(
        delivered, model, training.rows, [training.arrays], TASKS["chest"], settings, 0, found
    ).table.set_index("id")
    val = table[table["set"] == "val"]
    assert val.index.tolist() == training.rows["id"][found.rows].tolist()
    [temperature] = table["temperature"].unique()
    np.testing.assert_allclose(val[[f"p_{name}" for name in CLASSES]], temper(found.output, temperature), atol=1e-6)
    test = table[table["set"] == "test"]
    mean = np.asarray(model(pixels))[training.rows["set"] == "test"]
    np.testing.assert_allclose(test[[f"p_{name}" for name in CLASSES]], temper(mean, temperature), atol=1e-5)


def test_without_early_stopping_no_fold_chooses_the_epoch_of_its_own_model(training, tmp_path):
    settings = training.settings.model_copy(update={"lr": 0.3, "epochs": 3})
    _, history, found = run(replace(training, settings=settings), tmp_path)
    fold = deal_folds(training.rows, training.labels, CLASSES, FOLDS, 3)[found.rows]
    said = found.output[np.arange(len(fold)), training.labels[found.rows]]
    losses = history.filter(like="val_loss")
    assert (losses.idxmin() < 2).any()
    for i in range(FOLDS):
        assert -np.log(said[fold == i]).mean() == pytest.approx(losses.iloc[-1][f"fold-{i + 1}/val_loss"], rel=1e-3)


def test_an_interrupted_cross_validation_ends_as_a_whole_one(training, tmp_path):
    def interrupt(epoch, logs):
        if epoch == 2 and "fold-2/loss" in logs:
            raise KeyboardInterrupt

    backend.start(0, "float32")  # deterministic, as the stage is
    whole = run(training, tmp_path / "whole", folds=2)
    with pytest.raises(KeyboardInterrupt):
        run(training, tmp_path / "parts", interrupt, folds=2)
    backend.start(99, "float32")
    again = run(training, tmp_path / "parts", folds=2)
    assert isinstance(again[0], keras.Model)
    pd.testing.assert_frame_equal(again[1], whole[1])
    np.testing.assert_array_equal(again[2].output, whole[2].output)
