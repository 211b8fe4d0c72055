"""Mask metrics against closed forms."""

import math

import numpy as np
import pandas as pd
import pytest
from declared import evaluate_settings
from scipy.spatial.distance import cdist

from medpipe.evaluation.predictions import pooled
from medpipe.evaluation.segmentation import estimate_masks, examples, overlap, patients, slice_counts
from medpipe.evaluation.tables import count_masks, of_masks


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
        evaluate_settings(50),
        0,
    )
    assert estimates.values["dice"] == pytest.approx(0.95)
    assert estimates.values["hd95"] == 4
    assert set(np.round(estimates.draws["dice"], 6)) == {0.9, 0.95, 1.0}
    found = estimates.interval("hd95", 0.95)
    assert (found["value"], found["low"], found["why"].partition(":")[0]) == (
        4,
        None,
        "1 group of patients with both masks",
    )


def test_each_class_is_counted_for_itself():
    """Class a is a square shifted by 3 of its 10 columns, class b is there and missed in one slice of two."""
    truth = np.stack([square(0, 0) + 2 * square(40, 40), 2 * square(40, 40)])
    predicted = np.stack([square(0, 3) + 2 * square(40, 40), np.zeros_like(truth[0])])
    rows = pd.DataFrame({"id": ["1", "2"], "set": "test", "group": "p", "label": "ill"})
    table = of_masks(rows, ["ill", "ill"], count_masks(truth, predicted, 2), ("a", "b"), {})
    assert table.filter(like=":").columns.tolist() == [f"{c}:{n}" for n in "ab" for c in ("tp", "fp", "fn", "hd95")]
    assert table["tp:a"].tolist() == [70, 0]
    assert table["fn:b"].tolist() == [0, 100]
    [patient] = patients(table, alpha=0.7).to_dict("records")
    assert patient["dice:a"] == pytest.approx(0.7)
    assert patient["dice:b"] == pytest.approx(2 / 3)
    assert patient["dice"] == pytest.approx((0.7 + 2 / 3) / 2)
    assert (patient["hd95:a"], patient["hd95:b"], patient["hd95"]) == (3, 0, 1.5)
    assert pooled(table)[["tp", "fp", "fn"]].to_numpy().tolist() == [[170, 30, 30], [0, 0, 100]]
    one = of_masks(rows, ["ill", "ill"], count_masks(truth == 1, predicted == 1, 1), ("a",), {})
    assert one["tp"].tolist() == table["tp:a"].tolist()


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
