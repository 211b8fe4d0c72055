"""Metrics of masks: a slice's pixel counts, and Dice, IoU, Tversky and 95 % Hausdorff distance of each patient.

A patient's overlap is that of the whole volume (Buda 2019, doi 10.1016/j.compbiomed.2019.05.002): the counts of the
slices are added up first. Two empty masks agree: 1.0. The distance is a mean over the slices in which both masks hold
something; a patient without such a slice has none (NaN) and does not enter the mean over patients.

Where rows are slices of volumes, which the column `volume` says, overlap and distance are a volume's, the distance in
three dimensions and in millimetres; a patient's are the mean over his volumes.

Where masks mark several classes, each has its own figures, as `dice:<class>`, and a patient's own are their mean; of
distances the mean of those that there are.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects

from medpipe.evaluation.intervals import Estimates, Resamples
from medpipe.evaluation.predictions import COUNTS, marks, pooled
from medpipe.params import Evaluate

METRICS = ("dice", "iou", "tversky", "hd95")


def slice_counts(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int, float]:
    """tp, fp, fn (pixels) and hd95 (pixels; NaN where either mask is empty) of two masks (h, w) in {0, 1}."""
    truth, predicted = truth.astype(bool), predicted.astype(bool)
    tp = int((truth & predicted).sum())
    return tp, int(predicted.sum()) - tp, int(truth.sum()) - tp, hausdorff95(truth, predicted)


def hausdorff95(truth: np.ndarray, predicted: np.ndarray, spacing: Sequence[float] | None = None) -> float:
    """The larger of the two directed 95th percentiles of the distances between the masks' borders, of any number of
    axes: in pixels, or as `spacing`, one an axis.

    A border is the mask's own outermost pixels (neighbours along an axis); the image's edge counts as outside. NaN
    where either mask is empty.
    """
    if not truth.any() or not predicted.any():
        return float("nan")
    box = find_objects((truth | predicted).astype(np.uint8))[0]  # distances within it are those of the image
    a, b = (mask[box] & ~binary_erosion(mask[box]) for mask in (truth, predicted))
    directed = (distance_transform_edt(~other, sampling=spacing)[border] for border, other in ((a, b), (b, a)))
    return float(max(np.percentile(distances, 95) for distances in directed))


def overlap(counts: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Dice, IoU and Tversky index in [0, 1] for each row of tp, fp, fn (pixels); 1.0 where both masks are empty.

    Tversky weighs missed pixels by `alpha` and false ones by 1 - alpha (arXiv 1706.05721).
    """
    tp, fp, fn = (counts[column].astype(float) for column in ("tp", "fp", "fn"))
    rest = {"dice": (fp + fn) / 2, "iou": fp + fn, "tversky": alpha * fn + (1 - alpha) * fp}
    # 0 / 0 is two empty masks.
    return pd.DataFrame({metric: (tp / (tp + wrong)).fillna(1.0) for metric, wrong in rest.items()})


def patients(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """One row a patient, by name: dice, iou, tversky, hd95, of several classes those of each, and slices."""
    table = table.assign(group=table["group"].astype(str))
    grouped = table.groupby("group", sort=True)
    one = table.groupby(["group", *(["volume"] if "volume" in table else [])], sort=True)
    of = {}
    for mark in marks(table):
        counts = one[[f"{column}{mark}" for column in COUNTS[:3]]].sum().set_axis(COUNTS[:3], axis=1)
        of[mark] = overlap(counts, alpha).assign(hd95=one[f"hd95{mark}"].mean()).groupby("group").mean()
    scores = pd.DataFrame({m: pd.concat([part[m] for part in of.values()], axis=1).mean(axis=1) for m in METRICS})
    own = [part.add_suffix(mark) for mark, part in of.items() if mark]
    return pd.concat([scores, *own], axis=1).assign(slices=grouped.size())


def estimate_masks(table: pd.DataFrame, settings: Evaluate, seed: int) -> Estimates:
    """Mean over patients of each metric, and the median as `<metric>_median`, with draws over patients.

    Of several classes also those of each, as `dice:<class>` and `dice_median:<class>`.
    """
    scores = patients(table, settings.tversky_alpha)
    resamples = Resamples(scores.index.to_numpy(object), settings.resamples, seed)
    values, draws, scarcest = {}, {}, {}
    for column in scores.columns.drop("slices"):
        points = scores[column].to_numpy(np.float64)
        measured = "patients with both masks", int(np.isfinite(points).sum())
        drawn = points[resamples.picks]  # (r, patients)
        metric, colon, label = column.partition(":")
        for name, summary in ((column, np.mean), (f"{metric}_median{colon}{label}", np.median)):
            values[name] = float(_without_nan(summary, points[None])[0])
            draws[name] = _without_nan(summary, drawn)
            if measured[1] < len(points):
                scarcest[name] = measured
    return Estimates(len(table), tuple(resamples.names.tolist()), values, draws, scarcest)


def _without_nan(summary, values: np.ndarray) -> np.ndarray:
    """`summary` of each row's numbers; NaN for a row that has none."""
    if np.isfinite(values).all():
        return summary(values, axis=1)
    return np.array([summary(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values])


def examples(table: pd.DataFrame, count: int) -> list[str]:
    """Ids of test slices for a gallery: of those with a true mask, `count` from the worst Dice to the best."""
    slices = table[["id", "set"]].assign(**pooled(table))
    slices = slices[(slices["set"] == "test") & (slices["tp"] + slices["fn"] > 0)]
    ranked = slices.assign(dice=overlap(slices, alpha=0.5)["dice"]).sort_values(["dice", "id"])["id"].tolist()
    if not ranked:
        return []
    steps = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[i] for i in steps]
