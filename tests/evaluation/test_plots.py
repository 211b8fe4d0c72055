"""Plots: the right ones for each kind of model, and the same bytes each time."""

import numpy as np
import pandas as pd
import pytest
from declared import TASKS
from PIL import Image

from medpipe.evaluation.mask_plots import Example, overlay
from medpipe.evaluation.plots import plot_all
from medpipe.evaluation.report import cascade_report, classification_report
from medpipe.models.decision import Rule

SKIN = TASKS["skin"].classes
RULE = Rule("mel", threshold=0.2, refer=0.4, least=(0.1,) * len(SKIN))

HISTORY = pd.DataFrame(
    {
        "epoch": [0, 1, 0, 1],
        "phase": ["warmup", "warmup", "main", "main"],
        "lr": [1e-3, 1e-3, 1e-4, 1e-4],
        "loss": [2.0, 1.5, 1.2, 1.0],
        "val_loss": [2.1, 1.6, 1.4, 1.5],
        "accuracy": [0.3, 0.5, 0.6, 0.7],
        "val_accuracy": [0.3, 0.4, 0.5, np.nan],
    }
)


def test_classifier(classifier_table, settings, tmp_path):
    table = classifier_table(rows=150)
    table = table[~((table["label"] == "df") & (table["set"] == "test"))]  # a class without a test row
    _, report = classification_report("skin-tabular", table, SKIN, {"nv": 1}, RULE, settings, 1)
    importance = pd.Series({"age": 0.05, "sex: male": 0.01})
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        names = plot_all(folder, report, table, HISTORY, shap=("mel", importance))
    expected = [
        "curves",
        "roc",
        "precision_recall",
        "confusion",
        "per_class",
        "reliability",
        "decisions",
        "subgroups",
        "shap",
    ]
    assert names == [f"{name}.png" for name in expected]
    assert sorted(path.name for path in folders[0].iterdir()) == sorted(names)
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
        with Image.open(folders[0] / name) as image:
            assert "Software" not in image.info
            assert image.info["dpi"] == pytest.approx((120, 120), abs=0.1)
            assert len(image.convert("L").getcolors()) > 20  # something is drawn


def test_cascade(mask_table, settings, tmp_path):
    table = mask_table()
    _, report = cascade_report("brain-cascade", table, ("healthy", "tumour"), 0.3, {"healthy": 1}, settings, 1)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:16, 8:16] = 1
    slices = [Example("TCGA_1", np.full((32, 32, 3), 90, np.uint8), mask, np.roll(mask, 2, axis=0))] * 2
    names = plot_all(tmp_path, report, table, None, slices)
    assert names == [
        f"{name}.png"
        for name in (
            *("roc", "precision_recall", "confusion", "per_class", "reliability", "subgroups", "dice", "gallery"),
        )
    ]


def test_overlay_colours_the_mask_alone():
    image = np.full((16, 16, 3), 102, np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    mask[4:10, 4:10] = 1
    found = overlay(image, mask, [(1.0, 0.0, 0.0)])
    assert found[mask == 0] == pytest.approx(0.4)
    assert found[4, 4].tolist() == [1, 0, 0]  # the border
    assert found[7, 7] == pytest.approx([0.65 * 0.4 + 0.35, 0.26, 0.26])
