"""What a 95 % interval covers and how often a paired test errs, on made-up test sets whose truth is known.

    python benchmarks/coverage.py

Writes the tables of docs/intervals.md. Test sets of a few to 1,000 groups (lesions, patients), balanced (seven classes
alike, two rows a group) and skewed (classes and photographs a lesion as in HAM10000; a patient in seven whose mask
fails); and of three classes, two of 60 groups and one of 2 to 30 (two rows a group), by a model for which classes are
alike (even) or as frequent as they are (uneven). Half of what makes a classifier err is the group's and common to its
rows. The truth is the same metric of a population of 40,000 groups a class, weighted to the shares of the classes, or
of four million patients. Decisions are by a rule that 20,000 other groups chose.
"""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # two processes, a core each

import machine
import numpy as np
import pandas as pd
from scipy.stats import norm, t

from medpipe.evaluation import calibration, decisions, validity
from medpipe.evaluation.intervals import Resamples, resampled_metrics, scarcest
from medpipe.evaluation.metrics import OVERALL, PER_CLASS, key
from medpipe.evaluation.paired import delong, mcnemar
from medpipe.evaluation.predictions import Predictions
from medpipe.models.decision import Rule
from medpipe.params import Decide

DOCS = Path(__file__).parents[1] / "docs/intervals.md"
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
THREE = ("mel", "nv", "df")
RARE = "df"
SHARES = {"balanced": np.full(7, 1 / 7), "skewed": np.array([228, 327, 727, 73, 614, 5403, 98]) / 7470}  # of lesions
KINDS = (*SHARES, "even", "uneven")
ROWS = {"skewed": np.array([5514, 1423, 490, 34, 5, 4]) / 7470}  # lesions of 1, 2 ... rows; of other kinds all have two
SETS = {4: 720, 10: 720, 20: 720, 50: 720, 200: 480, 1000: 240}  # groups: test sets of each kind
MASK_SETS = {4: 2000, 10: 2000, 20: 2000, 50: 2000, 200: 1000, 1000: 400}
SCARCE = (2, 3, 5, 8, 15, 30)  # groups that hold the scarcest class: from here to the next; even and uneven: these
SCARCE_SETS = 720  # each
MANY = 60  # groups of each of the two other classes
LEAST = 50  # test sets, below which a share says nothing
JOBS = 4  # into which a cell is cut
RESAMPLES, CONFIDENCE, LEVEL = 399, 0.95, 0.05
QUANTILES = t.ppf((1 + CONFIDENCE) / 2, np.maximum(np.arange(1001), 1))  # by degrees of freedom
SKILL, OF_GROUP, SHARED, TOO_SURE = 2.2, 0.5, 0.6, 1.3
TWICE = ("macro_recall", "weighted_recall")  # balanced accuracy and accuracy by another name
TESTED = ("accuracy", "macro_f1", "balanced_accuracy", "roc_auc", "f1:class", "dice", "dice_median")
OF_CLASS = (*validity.OF_CLASSES, *(f"{metric}:class" for metric in (*PER_CLASS, "coverage")))
ASKED = Decide(of=RARE, rule={"sensitivity": 0.9}, error=0.1, coverage=0.9)
FORMS = ("percentile", "BCa", "studentised", "smoothed")
COVERAGE, SCARCITY = ["metric", "form"], "groups of the class"

Forms = dict[str, np.ndarray]
Row = tuple[object, ...]


def shares(kind: str, size: int) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The classes, their shares of the groups, and the shares that the model takes them to have."""
    if kind in SHARES:
        return CLASSES, SHARES[kind], SHARES[kind]
    own = np.array([MANY, MANY, size]) / (2 * MANY + size)
    return THREE, own, np.full(3, 1 / 3) if kind == "even" else own


def predictions(rng: np.random.Generator, kind: str, size: int, labels: np.ndarray) -> tuple[Predictions, Predictions]:
    """Two equally good models on the rows of groups of `labels` (g,): posteriors of normal scores, too sure by 1.3."""
    classes, _, prior = shares(kind, size)
    rows = ROWS.get(kind, np.array([0, 1]))
    groups = np.repeat(np.arange(len(labels)), 1 + rng.choice(len(rows), len(labels), p=rows))
    truth = labels[groups]

    def noise() -> np.ndarray:
        of_group, of_row = (rng.normal(size=(n, len(classes))) for n in (len(labels), len(truth)))
        return np.sqrt(OF_GROUP) * of_group[groups] + np.sqrt(1 - OF_GROUP) * of_row

    common, found = noise(), []
    for _ in range(2):
        scores = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * noise() + SKILL * np.eye(len(classes))[truth]
        logits = TOO_SURE * (scores * SKILL + np.log(prior))
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        found.append(Predictions(classes, groups, truth, p.argmax(axis=1), p))
    return found[0], found[1]


def measured(p: Predictions, rule: Rule, weights: np.ndarray) -> tuple[Forms, dict[str, int]]:
    """(r,) each: every published metric, of the classes that of the rarest one, under weights (r, g) of the groups; and
    of those that need classes the groups of the scarcest one.
    """
    decided, held = decisions.figures(p, rule, {}, p.groups, weights)
    found = resampled_metrics(p, p.groups, weights) | calibration.figures(p, p.groups, weights) | decided
    names = [name for name in OVERALL if name not in TWICE]
    names += [*calibration.MEASURES[:-1], *(name for name in decided if ":" not in name)]
    names += [key(metric, RARE) for metric in (*PER_CLASS, "coverage")]
    held = scarcest(p) | held
    return (
        {name.replace(RARE, "class"): found[name] for name in names},
        {name.replace(RARE, "class"): held[name][1] for name in names if name in held},
    )


def forms(name: str, value: float, draws: np.ndarray, without: np.ndarray | None, groups: int, scarce: int) -> Forms:
    """(low, high) of each form; `without` (g,): the metric without each group in turn, which tells nothing of a median.

    `smoothed` is medpipe's: the bootstrap's standard error on the logit or log scale, `scarce` - 1 degrees of freedom.
    """
    draws = draws[np.isfinite(draws)]
    found: Forms = {}
    if not np.isfinite(value) or len(draws) < RESAMPLES / 2:
        return found
    tails = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    found["percentile"] = np.quantile(draws, tails)
    if without is not None:
        kept = without[np.isfinite(without)]
        influence = kept.mean() - kept
        square = (influence**2).sum()
        if square > 1e-18:
            share = ((draws < value - 1e-12).mean() + (draws < value + 1e-12).mean()) / 2
            bias, ends = norm.ppf(np.clip(share, 1e-3, 1 - 1e-3)), norm.ppf(tails)
            skew = (influence**3).sum() / (6 * square**1.5)
            found["BCa"] = np.quantile(draws, norm.cdf(bias + (bias + ends) / (1 - skew * (bias + ends))))
            reach = QUANTILES[groups - 1] * np.sqrt((len(kept) - 1) / len(kept) * square)
            found["studentised"] = np.array([value - reach, value + reach])
    se = validity.standard_error(draws, scarce - 1)
    within = name in validity.SIGNED or 0 < value < (np.inf if name in validity.UNBOUNDED else 1)
    if se > validity.FLAT and within:
        found["smoothed"] = np.array(validity.studentised(name, value, se, scarce - 1, CONFIDENCE))
    return found


def classifiers(
    kind: str, size: int, sets: int, seed: int, truth: dict[str, float], rule: Rule
) -> tuple[list[Row], list[Row]]:
    """Of test sets: (metric, form, kind, groups, scarcest class's, covered), (test, kind, groups, scarcest's, p).

    The jackknife's forms are of the metrics of test sets whose `size` is all groups.
    """
    rng = np.random.default_rng([seed, size, KINDS.index(kind)])
    covered, tested = [], []
    classes, own, _ = shares(kind, size)
    rare = classes.index(RARE)
    for _ in range(sets):
        if kind in SHARES:
            labels = rng.choice(len(classes), size, p=own)
        else:
            labels = np.repeat(np.arange(3), [MANY, MANY, size])
        groups = len(labels)
        a, b = predictions(rng, kind, size, labels)
        weights = Resamples(np.arange(groups), RESAMPLES, int(rng.integers(1 << 31))).weights
        weights = np.concatenate([np.ones((1, groups)), weights])
        (draws, held), others = measured(a, rule, weights), resampled_metrics(b, b.groups, weights)
        left = resampled_metrics(a, a.groups, 1 - np.eye(groups)) if kind in SHARES else {}
        for name, drawn in draws.items():
            scarce, value = held.get(name, groups), float(drawn[0])
            without = left.get(name.replace("class", RARE))
            for form, (low, high) in forms(name, value, drawn[1:], without, groups, scarce).items():
                covered.append((name, form, kind, size, scarce, low <= truth[name] <= high))
            if name not in TESTED:
                continue
            apart = drawn - others[name.replace("class", RARE)]
            if np.isfinite(apart[0]) and np.isfinite(apart[1:]).sum() >= RESAMPLES / 2:
                for form, p in p_values(float(apart[0]), apart[1:], scarce - 1).items():
                    tested.append((f"{name}, {form}", kind, size, scarce, p))
        p = mcnemar(a.predicted == a.truth, b.predicted == b.truth, a.groups)["p"]
        tested.append(("accuracy, McNemar", kind, size, groups, p))
        p = delong(a.truth == rare, a.probabilities[:, rare], b.probabilities[:, rare], a.groups)["p"]
        if p is not None:
            tested.append(("roc_auc:class, DeLong", kind, size, held["roc_auc:class"], p))
    return covered, tested


def p_values(difference: float, draws: np.ndarray, degrees: int) -> dict[str, float]:
    """Two-sided p of a difference by the bootstrap's tail and by its standard error, and one-sided of "no worse".

    The margin is 0, the one at which equal models are just too far apart; another would shift both alike.
    """
    draws = draws[np.isfinite(draws)]
    tail = min((draws < 1e-12).sum(), (draws > -1e-12).sum())
    se = validity.standard_error(draws, degrees)
    found = {"percentile": min(1.0, 2 * (tail + 1) / (len(draws) + 1))}
    if se <= validity.FLAT:
        return found
    ratio = difference / se
    return found | {"studentised": 2 * t.sf(abs(ratio), degrees), "no worse": t.sf(ratio, degrees)}


def scores(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Patients' overlaps and distances, of `shape`. Skewed: a mask in seven fails, and distances have a long tail."""
    failed = (rng.random(shape) < 1 / 7) & (kind == "skewed")
    dice = np.where(failed, np.where(rng.random(shape) < 0.5, 0.02, rng.beta(1, 4, shape)), rng.beta(9, 3, shape))
    wrong, missed = 2 * (1 / dice - 1), rng.uniform(0.2, 0.8, shape)  # pixels, of as many hits
    tversky = 1 / (1 + wrong * (0.7 * missed + 0.3 * (1 - missed)))
    hd95 = np.exp(rng.normal(2, {"balanced": 0.5, "skewed": 1}[kind], shape))
    return {"dice": dice, "iou": dice / (2 - dice), "tversky": tversky, "hd95": hd95}


def masks(kind: str, groups: int, sets: int, seed: int, truth: dict[str, float]) -> tuple[list[Row], list[Row]]:
    """The same as `classifiers`, of segmenters; of six patients in ten the second scores as the first."""
    rng = np.random.default_rng([seed, groups])
    picks = Resamples(np.arange(groups), RESAMPLES, seed).picks
    covered, tested = [], []
    a, other = (scores(rng, kind, (sets, groups)) for _ in range(2))
    shared = rng.random((sets, groups)) < SHARED
    for metric, values in a.items():
        twin = np.where(shared, values, other[metric])
        for name, summary in ((metric, np.mean), (f"{metric}_median", np.median)):
            for one, two in zip(values, twin, strict=True):
                drawn = summary(one[picks], axis=1)
                without = (one.sum() - one) / (groups - 1) if summary is np.mean else None
                value = float(summary(one))
                for form, (low, high) in forms(name, value, drawn, without, groups, groups).items():
                    covered.append((name, form, kind, groups, groups, low <= truth[name] <= high))
                if name in TESTED:
                    apart = drawn - summary(two[picks], axis=1)
                    for form, p in p_values(value - float(summary(two)), apart, groups - 1).items():
                        tested.append((f"{name}, {form}", kind, groups, groups, p))
    return covered, tested


def population(kind: str, size: int) -> tuple[dict[str, float], Rule]:
    """Every metric of a classifier, of its population, and the rule by which it decides."""
    rng = np.random.default_rng(0)
    classes, own, _ = shares(kind, size)
    chosen = predictions(rng, kind, size, rng.choice(len(classes), 20_000, p=own))[0]
    rule = decisions.choose("", chosen, RARE, ASKED)
    labels = np.repeat(np.arange(len(classes)), 40_000)
    found, _ = measured(predictions(rng, kind, size, labels)[0], rule, own[labels][None])
    return {name: float(value[0]) for name, value in found.items()}, rule


def mask_population(kind: str) -> dict[str, float]:
    """Every metric of a segmenter, of its population."""
    found = scores(np.random.default_rng(0), kind, (4_000_000,))
    summaries = (("", np.mean), ("_median", np.median))
    return {f"{name}{end}": float(summary(values)) for name, values in found.items() for end, summary in summaries}


def run(job: tuple[object, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    simulate, *arguments = job
    covered, tested = simulate(*arguments)  # type: ignore[operator]
    return (
        pd.DataFrame(covered, columns=["metric", "form", "kind", "groups", "scarce", "share"]),
        pd.DataFrame(tested, columns=["test", "kind", "groups", "scarce", "p"]),
    )


def by_groups(rows: pd.DataFrame, index: list[str]) -> list[str]:
    """Markdown: the mean `share` in %, a column a kind and size."""
    rows = rows[rows["kind"].isin(SHARES)]
    shares = rows.groupby([*index, "kind", "groups"], observed=True)["share"].agg(["mean", "size"])
    found = 100 * shares["mean"].where(shares["size"] >= LEAST)
    found = found.unstack(["kind", "groups"])
    columns = [(kind, groups) for kind in SHARES for groups in SETS]
    return markdown(found.reindex(columns=columns), index, [f"{kind} {groups}" for kind, groups in columns])


def by_scarcity(rows: pd.DataFrame, index: list[str]) -> list[str]:
    """The same, a column a kind and number of groups that hold the scarcest class."""
    rows = rows[rows["scarce"] >= SCARCE[0]]
    place = pd.Series(np.searchsorted(SCARCE, rows["scarce"], side="right") - 1, rows.index, name="place")
    shares = rows.groupby([*index, "kind", place], observed=True)["share"].agg(["mean", "size"])
    found = 100 * shares["mean"].where(shares["size"] >= LEAST)
    ends = [f"{low}" if high == low + 1 else f"{low} to {high - 1}" for low, high in pairwise(SCARCE)]
    ends.append(f"{SCARCE[-1]} or more")
    columns = [(kind, place) for kind in KINDS for place in range(len(SCARCE))]
    found = found.unstack(["kind", "place"]).reindex(columns=columns)
    return markdown(found, index, [f"{kind} {ends[place]}" for kind, place in columns])


def markdown(found: pd.DataFrame, index: list[str], columns: list[str]) -> list[str]:
    lines = [f"| {' | '.join([*index, *columns])} |", "|" + "---|" * (len(index) + len(columns))]
    for names, values in zip(found.index, found.to_numpy(), strict=True):
        cells = ["–" if np.isnan(value) else f"{value:.1f}" for value in values]
        lines.append(f"| {' | '.join([*([names] if isinstance(names, str) else names), *cells])} |")
    return lines


def speed() -> float:
    """Seconds of processor time of all metrics of 2,000 resamples, 1,500 rows and seven classes."""
    rng = np.random.default_rng(0)
    p = predictions(rng, "skewed", 0, rng.choice(len(CLASSES), 1200, p=SHARES["skewed"]))[0]
    p = Predictions(CLASSES, *(values[:1500] for values in (p.groups, p.truth, p.predicted, p.probabilities)))
    assert len(p.truth) == 1500
    start = time.process_time()
    resamples = Resamples(p.groups, 2000, 0)
    resampled_metrics(p, resamples.codes, resamples.weights)
    return time.process_time() - start


def write(covered: pd.DataFrame, tested: pd.DataFrame, took: float) -> None:
    """The tables between their marks in docs/intervals.md."""
    for column, values in {"metric": dict.fromkeys(covered["metric"]), "form": FORMS}.items():
        covered[column] = pd.Categorical(covered[column], list(values))
    tested["share"] = tested["p"] <= LEVEL
    of_class = covered["metric"].isin(OF_CLASS)
    tables = {
        "coverage by groups": by_groups(covered, COVERAGE),
        "coverage by groups of the class": by_scarcity(covered[of_class], COVERAGE),
        "error by groups": by_groups(tested, ["test"]),
        "error by groups of the class": by_scarcity(
            tested[tested["test"].str.split(",").str[0].isin(OF_CLASS)], ["test"]
        ),
        "speed": [f"All metrics of 2,000 resamples, 1,500 rows and 7 classes: {took:.2f} s of one core."],
    }
    text = DOCS.read_text()
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = before + begin + "\n".join(lines) + end + rest.split(end)[1]
    DOCS.write_text(text)


def main() -> None:
    machine.describe()
    start = time.perf_counter()
    took = speed()
    cells = [(kind, size, sets) for size, sets in SETS.items() for kind in SHARES]
    cells += [(kind, size, SCARCE_SETS) for size in SCARCE for kind in KINDS if kind not in SHARES]
    populations = {(kind, 0 if kind in SHARES else size) for kind, size, _ in cells}
    with ProcessPoolExecutor(2) as pool:
        of = dict(zip(populations, pool.map(population, *zip(*populations, strict=True)), strict=True))
    jobs: list[tuple[object, ...]] = [
        (classifiers, kind, size, sets // JOBS, seed, *of[kind, 0 if kind in SHARES else size])
        for kind, size, sets in cells
        for seed in range(JOBS)
    ]
    masses = {kind: mask_population(kind) for kind in SHARES}
    jobs += [
        (masks, kind, groups, sets // JOBS, seed, masses[kind])
        for groups, sets in MASK_SETS.items()
        for kind in SHARES
        for seed in range(JOBS)
    ]
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(run, jobs))
    covered, tested = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    write(covered, tested, took)
    clock, spent = time.perf_counter() - start, sum(os.times()[:4])  # of this process and its children
    print(f"{took:.2f} s for the metrics of 2,000 resamples; {clock:.0f} s in all, {spent:.0f} s of processor time")


if __name__ == "__main__":
    main()
