"""Mask metrics against closed forms."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from medpipe.evaluation.segmentation import estimate_masks, examples, overlap, patients, slice_counts
from medpipe.params import Evaluate


def square(top, left, side=10, size=64):
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def counts(tp, fp, fn):
    return pd.DataFrame({"tp": [tp], "fp": [fp], "fn": [fn]})


@pytest.mark.parametrize("shift", [0, 1, 3, 9])
def test_shifted_square(shift):
    tp, fp, fn, _ = slice_counts(square(20, 20), square(20, 20 + shift))
    assert (tp, fp, fn) == (100 - 10 * shift, 10 * shift, 10 * shift)
    found = overlap(counts(tp, fp, fn), alpha=0.7).iloc[0]
    assert found["dice"] == pytest.approx(1 - shift / 10)
    assert found["iou"] == pytest.approx((10 - shift) / (10 + shift))
    assert found["tversky"] == pytest.approx(1 - shift / 10)


def test_tversky_weighs_missed_pixels_by_alpha():
    found = overlap(counts(60, 10, 40), alpha=0.7).iloc[0]
    assert found["tversky"] == pytest.approx(60 / (60 + 0.7 * 40 + 0.3 * 10))
    half = overlap(counts(60, 10, 40), alpha=0.5).iloc[0]
    assert half["tversky"] == pytest.approx(half["dice"]) == pytest.approx(120 / 170)


def test_empty_masks():
    empty = np.zeros((8, 8), np.uint8)
    assert slice_counts(empty, empty)[:3] == (0, 0, 0)
    assert math.isnan(slice_counts(empty, square(1, 1, 3, 8))[3])
    assert overlap(counts(0, 0, 0), 0.7).iloc[0].tolist() == [1, 1, 1]
    assert overlap(counts(0, 0, 5), 0.7).iloc[0].tolist() == [0, 0, 0]


def test_hausdorff_closed_forms():
    assert slice_counts(square(5, 5, 10), square(5, 5, 10))[3] == 0
    assert slice_counts(square(5, 5, 1), square(8, 9, 1))[3] == 5  # 3-4-5
    line = np.zeros((64, 64), np.uint8)
    line[10, 5:60] = 1
    assert slice_counts(line, np.roll(line, 7, axis=0))[3] == 7
    # One far pixel of 201 lies beyond the 95th percentile.
    speck = np.zeros((300, 300), np.uint8)
    speck[10, 20:220] = 1
    with_speck = speck.copy()
    with_speck[290, 290] = 1
    assert slice_counts(speck, with_speck)[3] == 0


def test_hausdorff_equals_all_pairs_of_border_pixels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        masks = [rng.random((24, 31)) < 0.15 for _ in range(2)]
        borders = []
        for mask in masks:
            padded = np.pad(mask, 1)
            inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
            borders.append(np.argwhere(mask & ~inner))
        distances = cdist(*borders)
        expected = max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))
        assert slice_counts(*masks)[3] == pytest.approx(expected)


def test_a_patient_is_a_volume():
    table = pd.DataFrame(
        {
            "group": ["p", "p", "q"],
            "tp": [90, 0, 0],
            "fp": [10, 0, 0],
            "fn": [0, 10, 0],
            "hd95": [4.0, np.nan, np.nan],
        }
    )
    found = patients(table, alpha=0.7)
    assert found.index.tolist() == ["p", "q"]
    assert found["dice"].tolist() == pytest.approx([180 / 200, 1.0])
    assert found["iou"].tolist() == pytest.approx([90 / 110, 1.0])
    assert found.loc["p", "hd95"] == 4
    assert math.isnan(found.loc["q", "hd95"])
    estimates = estimate_masks(
        table,
        Evaluate(
            seed=0,
            resamples=50,
            confidence=0.95,
            tversky_alpha=0.7,
            explain={},
            operating_points=(0.5,),
            flips=(),
        ),
        0,
    )
    assert estimates.values["dice"] == pytest.approx(0.95)
    assert estimates.values["hd95"] == 4
    assert set(np.round(estimates.draws["dice"], 6)) == {0.9, 0.95, 1.0}
    assert estimates.interval("hd95", 0.95) == {"value": 4.0, "low": 4.0, "high": 4.0}


def test_draws_are_means_and_medians_of_drawn_patients(mask_table, settings):
    table = mask_table()
    found = estimate_masks(table, settings, 2)
    dice = patients(table, 0.7)["dice"].to_numpy()
    assert found.values["dice_median"] == pytest.approx(np.median(dice))
    assert dice.min() <= found.draws["dice"].min() <= found.draws["dice"].max() <= dice.max()
    assert set(found.draws["dice_median"].round(9)) <= {round((a + b) / 2, 9) for a in dice for b in dice}


def test_examples_run_from_the_worst_to_the_best(mask_table):
    table = mask_table()
    chosen = examples(table, 5)
    dice = overlap(table, 0.5)["dice"].set_axis(table["id"])
    assert len(set(chosen)) == 5
    assert dice[chosen].is_monotonic_increasing
    tumour = (table["label"] == "tumour").to_numpy()
    assert dice[chosen].iloc[[0, -1]].tolist() == [dice[tumour].min(), dice[tumour].max()]
    assert examples(table[table["label"] == "healthy"], 5) == []
