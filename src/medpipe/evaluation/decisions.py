"""What a classifier's probabilities are good for: a threshold, referral to a person and conformal sets, all chosen on
validation rows, and what they are worth on others.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from medpipe.errors import InputError
from medpipe.evaluation.intervals import Estimates, Resamples
from medpipe.evaluation.metrics import key
from medpipe.evaluation.predictions import Predictions
from medpipe.evaluation.validity import Scarcest
from medpipe.models.decision import NEVER, REFER, SLACK, Rule, decide, in_sets
from medpipe.params import Cost, Decide, Evaluate, Sensitivity

SENSITIVITIES = (0.9, 0.95)
CHANCES = np.arange(1, 100) / 100  # thresholds of the decision curve
_BLOCK = 4_000_000  # weights of rows held at once: 32 MB


class Ratio(NamedTuple):
    """A figure as what is counted (n,), and among what (n,), which `among` says; "": among all rows."""

    part: np.ndarray
    whole: np.ndarray
    among: str = ""


def choose(name: str, p: Predictions, of: str, settings: Decide) -> Rule:
    """The rule of model `name` for its class `of`, by its validation rows `p`, as `settings` asks.

    Raises InputError, naming the model, where no validation row is of the class, or all are.
    """
    column = p.classes.index(of)
    truth, said = p.truth == column, p.probabilities[:, column]
    if truth.all() or not truth.any():
        raise InputError(
            f"{name}: {truth.sum()} of {len(truth)} validation rows are {of}, so no threshold can be chosen; name "
            "another class under evaluate.decide, or give split.val a larger share"
        )
    match settings.rule:
        case Sensitivity(sensitivity=wanted):
            threshold = at_sensitivity(said, truth, wanted)
        case Cost(cost=cost):
            threshold = at_cost(said, truth, cost)
        case "youden":
            threshold = at_cost(said, truth, (~truth).sum() / truth.sum())
    own = [p.probabilities[p.truth == c, c] for c in range(len(p.classes))]
    least = tuple(conformal(found, settings.coverage) for found in own)
    return Rule(of, threshold, refer_below(p, settings.error), least)


def at_sensitivity(said: np.ndarray, truth: np.ndarray, wanted: float) -> float:
    """The highest threshold that at least the share `wanted` of the true rows reaches. `said` (n,), `truth` (n,)."""
    found = np.sort(said[truth])[::-1]
    return float(found[math.ceil(round(wanted * len(found), 9)) - 1] * SLACK)  # rounded: 0.07 * 100 is more than 7


def at_cost(said: np.ndarray, truth: np.ndarray, cost: float) -> float:
    """The highest threshold at which `cost` times the missed rows, and the false alarms, are fewest; NEVER where every
    one costs more than to miss all rows.

    A cost of negatives a positive gives Youden's (1950), the largest sensitivity + specificity.
    """
    thresholds, place = np.unique(-said, return_inverse=True)
    gain = np.cumsum(np.bincount(place, np.where(truth, cost, -1.0)))
    if gain.max() < -1e-6:  # less is rounding: by Youden's cost, to say so of all rows costs as much as to miss all
        return NEVER
    return float(-thresholds[gain.argmax()] * SLACK)


def refer_below(p: Predictions, error: float) -> float:
    """The lowest probability of the likeliest class from which on at most the share `error` of the rows is wrong.

    NEVER, so that every row is referred, where there is none. Selective classification (Geifman & El-Yaniv 2017,
    arXiv 1705.08500), without its bound: on new rows the error is met on average only.
    """
    top = p.probabilities.max(axis=1)
    thresholds, place = np.unique(-top, return_inverse=True)
    rows, wrong = np.bincount(place), np.bincount(place, p.probabilities.argmax(axis=1) != p.truth)
    met = np.flatnonzero(np.cumsum(wrong) / np.cumsum(rows) <= error)
    return float(-thresholds[met[-1]] * SLACK) if len(met) else NEVER


def conformal(chances: np.ndarray, coverage: float) -> float:
    """The probability from which on a class joins the set, of the probabilities (n,) of its own validation rows.

    Split conformal prediction a class (Angelopoulos & Bates 2021, arXiv 2107.07511, section 4.2): of new rows
    of the class, exchangeable with these, at least the share `coverage` reaches it. 0 where they are too few for that.
    """
    place = math.ceil(round((len(chances) + 1) * coverage, 9))
    return float(np.sort(chances)[::-1][place - 1] * SLACK) if place <= len(chances) else 0.0


def thresholds(p: Predictions) -> dict[str, dict[str, float]]:
    """Of each class that has rows, by SENSITIVITIES, the threshold that reaches it on the validation rows `p`."""
    present = [(c, name) for c, name in enumerate(p.classes) if (p.truth == c).any()]
    return {
        name: {str(s): at_sensitivity(p.probabilities[:, c], p.truth == c, s) for s in SENSITIVITIES}
        for c, name in present
    }


def decisions(
    p: Predictions, rule: Rule, at: Mapping[str, Mapping[str, float]], settings: Evaluate, seed: int
) -> dict[str, Any]:
    """What the rule and the `thresholds` `at` are worth on the rows `p`.

    - rule: itself; figures: {value, low, high} of what `figures` lists
    - at: of each class, by sensitivity on validation rows, the threshold and {value, low, high} of both shares
    - decided: counts of truth (rows) by decision (columns: the classes, then `refer`)
    - curve: of the decision curve thresholds, and the net benefit of the model and of treating all
    - risk: of the risk-coverage curve shares answered, and the error among them
    """
    resamples = Resamples(p.groups, settings.resamples, seed)
    weights = np.concatenate([np.ones((1, len(resamples.names))), resamples.weights])
    drawn, scarcest = figures(p, rule, at, resamples.codes, weights)
    values = {name: float(found[0]) for name, found in drawn.items()}
    draws = {name: found[1:] for name, found in drawn.items()}
    estimates = Estimates(len(p.truth), tuple(resamples.names.tolist()), values, draws, scarcest)
    interval = {name: estimates.interval(name, settings.confidence) for name in drawn}
    said = decide(p.probabilities, p.classes, rule)
    columns = (*p.classes, REFER)
    table = np.zeros((len(p.classes), len(columns)), int)
    np.add.at(table, (p.truth, np.array([columns.index(one) for one in said])), 1)
    return {
        "rule": asdict(rule),
        "figures": {name: found for name, found in interval.items() if "@" not in name.partition(":")[0]},
        "at": {
            name: {
                s: {"threshold": t} | {m: interval[key(f"{m}@{s}", name)] for m in ("sensitivity", "specificity")}
                for s, t in found.items()
            }
            for name, found in at.items()
        },
        "decided": table.tolist(),
        "curve": decision_curve(p, p.classes.index(rule.of)),
        "risk": risk_coverage(p),
    }


def figures(
    p: Predictions, rule: Rule, at: Mapping[str, Mapping[str, float]], codes: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Scarcest]]:
    """What `_ratios` and `_at` list, and `aurc`, each (r,) under the weights (r, g) of groups, NaN where there is
    nothing to measure; and of each that is not of all rows, of what, and how many groups have it.
    """
    ratios = _ratios(p, rule) | _at(p, at)
    found = {}
    for name, ratio in ratios.items():
        part, whole = (weights @ np.bincount(codes, counted, weights.shape[1]) for counted in ratio[:2])
        found[name] = np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
    held = {
        name: (ratio.among, len(np.unique(codes[ratio.whole > 0]))) for name, ratio in ratios.items() if ratio.among
    }
    both = min(held["sensitivity"], held["specificity"], key=lambda one: one[1])
    return found | {"aurc": _aurc(p, codes, weights)}, held | {"net_benefit": both, "treat_all": both}


def _ratios(p: Predictions, rule: Rule) -> dict[str, Ratio]:
    """- sensitivity, specificity, precision: of the class at its threshold
    - net_benefit, treat_all: there, of the model and of treating all, which no threshold above 1 compares
    - referred: the share that is; error: of labels among the others; wrong: of decisions among them
    - coverage, and coverage:<class>: the share of sets that hold the truth; set_size: classes in a set; empty: sets
    """
    column, label = p.classes.index(rule.of), p.probabilities.argmax(axis=1)
    truth, said = p.truth == column, p.probabilities[:, column] >= rule.threshold
    odds = rule.threshold / (1 - rule.threshold) if rule.threshold < 1 else np.nan
    benefit, treated = (np.where(said, np.where(truth, 1, -odds), 0), np.where(truth, 1, -odds))
    answered = p.probabilities.max(axis=1) >= rule.refer
    decided = np.array(decide(p.probabilities, p.classes, rule), object)
    mistaken = decided != np.array(p.classes, object)[p.truth]
    sets, whole = in_sets(p.probabilities, rule), np.ones(len(truth))
    held = sets[np.arange(len(truth)), p.truth]
    found = {
        "sensitivity": Ratio(truth & said, truth, rule.of),
        "specificity": Ratio(~truth & ~said, ~truth, f"classes but {rule.of}"),
        "precision": Ratio(truth & said, said, f"rows said to be {rule.of}"),
        "net_benefit": Ratio(benefit, whole),
        "treat_all": Ratio(treated, whole),
        "referred": Ratio(~answered, whole),
        "error": Ratio(answered & (label != p.truth), answered, "rows that are not referred"),
        "wrong": Ratio(answered & mistaken, answered, "rows that are not referred"),
        "coverage": Ratio(held, whole),
        "set_size": Ratio(sets.sum(axis=1), whole),
        "empty": Ratio(sets.sum(axis=1) == 0, whole),
    }
    of_class = {
        key("coverage", name): Ratio(held & (p.truth == c), p.truth == c, name) for c, name in enumerate(p.classes)
    }
    return found | of_class


def _at(p: Predictions, at: Mapping[str, Mapping[str, float]]) -> dict[str, Ratio]:
    """`sensitivity@0.9:<class>` and so on, of each class at each of its thresholds."""
    found = {}
    for name, by in at.items():
        truth, said = p.truth == p.classes.index(name), p.probabilities[:, p.classes.index(name)]
        for s, threshold in by.items():
            found[key(f"sensitivity@{s}", name)] = Ratio(truth & (said >= threshold), truth, name)
            found[key(f"specificity@{s}", name)] = Ratio(~truth & (said < threshold), ~truth, f"classes but {name}")
    return found


def _ranked(p: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """The rows (n,) from the surest to the least sure, and whether each is told wrong (n,)."""
    order = np.argsort(-p.probabilities.max(axis=1), kind="stable")
    return order, (p.probabilities.argmax(axis=1) != p.truth)[order].astype(np.float64)


def _aurc(p: Predictions, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the risk-coverage curve (r,): the mean over rows of the error among those at least as sure.

    Geifman 2019, arXiv 1805.08206.
    """
    order, wrong = _ranked(p)
    found, step = np.empty(len(weights)), max(1, _BLOCK // len(order))
    for start in range(0, len(weights), step):
        rows = weights[start : start + step][:, codes[order]]  # (r, n)
        seen = np.cumsum(rows, axis=1)
        risk = np.cumsum(rows * wrong, axis=1) / np.where(seen > 0, seen, 1)
        found[start : start + step] = (rows * risk).sum(axis=1) / seen[:, -1]
    return found


def risk_coverage(p: Predictions) -> dict[str, list[float]]:
    """{coverage, risk}: of at most 100 shares of the rows, the surest first, the error among them."""
    _, wrong = _ranked(p)
    count = np.unique(np.ceil(np.arange(1, 101) / 100 * len(wrong)).astype(int))
    risk = np.cumsum(wrong)[count - 1] / count
    return {"coverage": (count / len(wrong)).tolist(), "risk": risk.tolist()}


def decision_curve(p: Predictions, column: int) -> dict[str, list[float]]:
    """{threshold, model, treat_all}: net benefit, true positives a row less false ones at the threshold's odds.

    Vickers & Elkin 2006, doi:10.1177/0272989X06295361. Treating none has 0.
    """
    truth, said = p.truth == column, p.probabilities[:, column]
    odds = CHANCES / (1 - CHANCES)
    hit, alarm = ((said[some][:, None] >= CHANCES).sum(axis=0) / len(truth) for some in (truth, ~truth))
    treat_all = truth.mean() - (1 - truth.mean()) * odds
    return {"threshold": CHANCES.tolist(), "model": (hit - alarm * odds).tolist(), "treat_all": treat_all.tolist()}
