"""How far a classifier's probabilities are from the frequencies that they announce, and the temperature against it."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from medpipe.errors import InputError
from medpipe.evaluation.intervals import Estimates, Resamples
from medpipe.evaluation.predictions import Predictions
from medpipe.models.predict import require_finite
from medpipe.models.temperature import scores, softmax, untemper
from medpipe.params import Evaluate

BINS = 15
COLDEST, HOTTEST = 0.2, 20.0  # temperatures between which `untemper` gives back what a model said
MEASURES = ("ece", "rms_calibration_error", "classwise_rms_calibration_error", "brier", "log_loss")
PARTS = ("reliability", "resolution", "uncertainty", "within_variance", "within_covariance")


def fit_temperature(name: str, p: np.ndarray, truth: np.ndarray) -> float:
    """The temperature with the least log loss of `p` (n, k), or (n, 1) of the second class, on validation rows.

    `truth` (n,): class numbers. The loss is convex in 1 / temperature: its derivative, the mean score that the
    probabilities expect less that of the truth, has one root. Where all rows are told right it has none, so the truth
    is taken for 1 - 1 / (n + 1) sure (after Platt 1999, section 2.2), and the temperature is kept within [0.2, 20].
    Raises InputError, naming the model, where there is no row, and where a probability is not a number.
    """
    if not len(truth):
        raise InputError(f"{name}: no validation row to fit its temperature on; give split.val a larger share")
    z = scores(require_finite(f"{name}: probabilities", p))
    doubt = 1 / (len(z) + 1)
    target = (1 - doubt) * z[np.arange(len(z)), truth] + doubt * z.mean(axis=1)

    def derivative(sharpness: float) -> float:
        return float(((softmax(sharpness * z) * z).sum(axis=1) - target).mean())

    if derivative(1 / HOTTEST) >= 0:
        return HOTTEST
    if derivative(1 / COLDEST) <= 0:
        return COLDEST
    return float(1 / brentq(derivative, 1 / HOTTEST, 1 / COLDEST, xtol=1e-12))


def expected_calibration_error(said: np.ndarray, hit: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """ECE (r,) in [0, 1]: the mean over rows of |how often it is true - what is said| in their bin.

    `said` (n,) in [0, 1], `hit` (n,) in {0, 1}, `codes` (n,) the group of each row, `weights` (r, g) of the groups. 15
    bins of equal width, of the likeliest class (Guo 2017, arXiv 1706.04599, equation 3). Bins of few rows miss by
    chance alone, so that it is too large, the more so the fewer rows and groups there are.
    """
    place = np.clip(np.ceil(said * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = weights @ _by_group(place, codes, hit - said, (weights.shape[1], BINS))  # (r, bins)
    return np.abs(gaps).sum(axis=1) / (weights @ np.bincount(codes))


def rms_calibration_error(said: np.ndarray, hit: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The debiased root mean square (r,) of the same gap over the rows, in 15 bins of equal mass; as
    `expected_calibration_error`.

    From each bin's square is taken what chance alone is expected to leave there (Kumar 2019, arXiv 1909.10155, section
    5, as Bröcker 2012, doi:10.1007/s00382-011-1191-1), estimated over groups, whose rows err together; of a bin that
    one group fills, nothing. 0 where that leaves less than nothing.
    """
    return np.sqrt(np.maximum(_squared_error(said, hit, codes, weights), 0))


def classwise_error(p: Predictions, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The same of every class's probability (r,), the mean taken of the squares (Kull 2019, arXiv 1910.12656)."""
    squares = [_squared_error(p.probabilities[:, c], p.truth == c, codes, weights) for c in range(len(p.classes))]
    return np.sqrt(np.maximum(np.mean(squares, axis=0), 0))


def _squared_error(said: np.ndarray, hit: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean square of the gap, debiased: of a bin the squared mean of its groups' gaps less that mean's variance."""
    place = _members(said).argmax(axis=0)
    shape = weights.shape[1], place.max() + 1
    rows, apart = (_by_group(place, codes, values, shape) for values in (np.ones(len(said)), hit - said))  # (g, bins)
    count, total, groups = (weights @ sums for sums in (rows, apart, rows > 0))  # (r, bins)
    whole = np.where(count > 0, count, 1)
    gap = total / whole
    # The squares of the groups' apart - rows * gap, whose sum over groups is 0.
    squares = weights @ apart**2 - 2 * gap * (weights @ (apart * rows)) + gap**2 * (weights @ rows**2)
    noise = groups / np.maximum(groups - 1, 1) * squares / whole**2
    return (count * (gap**2 - noise)).sum(axis=1) / count.sum(axis=1)


def _by_group(place: np.ndarray, codes: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(groups, bins), `shape`: the sums of the rows' `values` (n,)."""
    return np.bincount(codes * shape[1] + place, values, shape[0] * shape[1]).reshape(shape)


def brier_parts(p: Predictions) -> dict[str, float]:
    """The Brier score (summed over classes, in [0, 2]) in parts, in 15 bins of equal mass a class.

    brier = reliability - resolution + uncertainty + within_variance - within_covariance; the last two are what Murphy's
    three leave over where the probabilities within a bin differ (Stephenson 2008, doi:10.1175/2007WAF2006116.1).
    """
    n, parts = len(p.truth), dict.fromkeys(PARTS, 0.0)
    for c in range(len(p.classes)):
        said, hit = p.probabilities[:, c], (p.truth == c).astype(np.float64)
        member = _members(said)
        count = member.sum(axis=1)
        mean, rate, base = member @ said / count, member @ hit / count, hit.mean()
        own = member.T @ np.stack([mean, rate], axis=1)  # (n, 2) of each row's bin
        parts["reliability"] += count @ (mean - rate) ** 2 / n
        parts["resolution"] += count @ (rate - base) ** 2 / n
        parts["uncertainty"] += base * (1 - base)
        parts["within_variance"] += float(np.mean((said - own[:, 0]) ** 2))
        parts["within_covariance"] += float(2 * np.mean((hit - own[:, 1]) * (said - own[:, 0])))
    return {name: float(value) for name, value in parts.items()}


def calibration(p: Predictions, temperature: float, settings: Evaluate, seed: int) -> dict[str, Any]:
    """{temperature, before, after}: of what the model says, and of the tempered probabilities `p`, which are delivered.

    Each has {value, low, high} of MEASURES, the Brier score's `parts`, and the `bins` of the reliability diagram.
    """
    said = Predictions(p.classes, p.groups, p.truth, p.predicted, untemper(p.probabilities, temperature).astype(float))
    measured = {"before": _measured(said, settings, seed), "after": _measured(p, settings, seed)}
    return {"temperature": temperature} | measured


def _measured(p: Predictions, settings: Evaluate, seed: int) -> dict[str, Any]:
    resamples = Resamples(p.groups, settings.resamples, seed)
    weights = np.concatenate([np.ones((1, len(resamples.names))), resamples.weights])
    drawn = figures(p, resamples.codes, weights)
    values = {name: float(found[0]) for name, found in drawn.items()}
    draws = {name: found[1:] for name, found in drawn.items()}
    estimates = Estimates(len(p.truth), tuple(resamples.names.tolist()), values, draws)
    found = {name: estimates.interval(name, settings.confidence) for name in MEASURES}
    return found | {"parts": brier_parts(p), "bins": bins(p)}


def figures(p: Predictions, codes: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """MEASURES (r,) under the weights (r, g) of the groups, `codes` (n,) of the rows."""
    hits = np.eye(len(p.classes))[p.truth]
    chances = np.clip(p.probabilities[np.arange(len(p.truth)), p.truth], np.finfo(np.float64).eps, None)
    row = ((p.probabilities - hits) ** 2).sum(axis=1), -np.log(chances)
    rows = weights @ np.bincount(codes)
    means = (weights @ np.bincount(codes, values) / rows for values in row)
    likeliest = p.probabilities.max(axis=1), p.probabilities.argmax(axis=1) == p.truth, codes, weights
    errors = expected_calibration_error(*likeliest), rms_calibration_error(*likeliest)
    return dict(zip(MEASURES, (*errors, classwise_error(p, codes, weights), *means), strict=True))


def bins(p: Predictions) -> list[dict[Any, Any]]:
    """The reliability diagram: of each bin its rows, the mean probability of the likeliest class, how often it is true.

    Of a model of two classes the probability is the second one's.
    """
    two = len(p.classes) == 2
    said = p.probabilities[:, 1] if two else p.probabilities.max(axis=1)
    hit = p.truth == 1 if two else p.truth == p.probabilities.argmax(axis=1)
    table = pd.DataFrame({"bin": _members(said).argmax(axis=0), "confidence": said, "accuracy": hit.astype(float)})
    grouped = table.groupby("bin")
    return grouped.mean().assign(rows=grouped.size()).to_dict(orient="records")


def _members(said: np.ndarray) -> np.ndarray:
    """(bins, n) in {0., 1.}: at most 15 bins of about as many rows each; equal values lie in one, and none is empty.

    Equal mass has less bias than equal width (Roelofs 2022, arXiv 2012.08668).
    """
    ends = np.quantile(said, np.arange(1, BINS) / BINS)
    place = np.unique(np.searchsorted(ends, said, side="left"), return_inverse=True)[1]
    return (place == np.arange(place.max() + 1)[:, None]).astype(np.float64)
