"""A planted mark raises the alarm where the region of interest is blanked; without one there is none."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from medpipe import backend, params
from medpipe.probes import blank
from medpipe.probes.page import shown
from medpipe.probes.report import headline, report
from medpipe.probes.retrain import Halves, retrain

CLASSES, COUNT, SIDE = ("sick", "well"), 240, 16
VALUES = params.load(Path(__file__).parents[2])
SETTINGS = VALUES.evaluate.model_copy(update={"resamples": 200})


def write(folder, marked):
    """Images whose middle is brighter in the sick; with `marked` a spot in the corner of most of these too."""
    rng, number = np.random.default_rng(0), np.arange(COUNT)
    sick = number % 2 == 0
    images = rng.normal(90, 20, (COUNT, SIDE, SIDE, 3))
    images[sick, 6:10, 6:10] += 80
    if marked:
        images[sick, :3, :3] = 250
    (folder / "prepared/x").mkdir(parents=True)
    (folder / "split").mkdir()
    np.save(folder / "prepared/x/inputs.npy", images.clip(0, 255).astype(np.uint8))
    meta = {"ids": [str(i) for i in number], "variant": {}, "features": [], "digest": ""}
    (folder / "prepared/x/meta.json").write_text(json.dumps(meta))
    (folder / "split/stats.json").write_text("{}")
    sets = np.array(["train", "val", "test", "test"])[number // 2 % 4]
    labels = np.where(sick, *CLASSES)
    rows = pd.DataFrame({"id": meta["ids"], "label": labels, "group": meta["ids"], "set": sets, "source": "one"})
    rows.to_parquet(folder / "split/rows.parquet")


def recipe(frozen):
    published = VALUES.models["chest-mobilenetv2" if frozen else "chest-convnet"]
    network = {"weights": None, "unfreeze": 0} if frozen else {"filters": (8,), "units": 8, "dropout": 0.0}
    changes = {"inputs": ("x",), "augmentation": None, "class_weights": None, "early_stopping": None}
    changes |= {"epochs": 6, "batch": 16, "lr": 0.01, "network": published.network.model_copy(update=network)}
    return published.model_copy(update=changes)


def again(folder, region, frozen):
    backend.start(0, "float32")
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Flatten(name="embedding")(keras.layers.Rescaling(1 / 255)(keras.layers.MaxPooling2D(4)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(len(CLASSES), activation="softmax")(x))
    settings, work = recipe(frozen), folder / "work"
    table = retrain(
        settings, Halves(model, settings, ()), CLASSES, folder / "split", folder / "prepared", region, work,
        seed=0, most=None, flips=(),
    )  # fmt: skip
    assert not work.exists()
    return table


@pytest.mark.parametrize(("marked", "frozen"), [(True, True), (False, False)])
def test_a_mark_outside_the_region_raises_the_alarm_and_without_one_there_is_none(tmp_path, marked, frozen):
    write(tmp_path, marked)
    size = (SIDE, SIDE)
    nothing = again(tmp_path, np.zeros(size, bool), frozen)
    blanked = again(tmp_path, blank.centre(size, 0.5), frozen)
    assert set(nothing["set"]) == {"test"}
    training = {"sick": 60, "well": 60}
    probed = {"blanked": blanked, "border": blanked}
    found = report("model", nothing, probed, {"table": blanked}, None, CLASSES, training, SETTINGS, 0)
    assert found["headline"]["metrics"]["roc_auc"]["value"] > 0.9
    assert found["alarm"] == marked
    assert headline(found)["alarm"] == int(marked)
    if not marked:
        assert found["probes"]["blanked"]["difference"]["roc_auc"]["difference"] < -0.3
    region = {"region": {"box": 0.5, "border": 0.25, "share": 0.25}}
    page = shown(found | region)
    assert page.lead.startswith("An alarm is raised: " if marked else "No alarm is raised: ")
    assert [row[0] for row in page.rows] == [
        "whole images (model)", "the region of interest blanked", "the border alone", "metadata alone (table)",
        "nothing (ZeroR: sick)",
    ]  # fmt: skip
    assert all(len(row) == len(page.head) for row in page.rows)
