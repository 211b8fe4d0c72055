"""Whether a model's embedding tells where an image comes from (hospital, data set), beyond what the class tells.

Classes often come from sources of their own, so a source that is told by the class alone is no shortcut. Each class is
looked at by itself: a linear classifier, as a probe of what a representation holds (arXiv 1610.01644), is to tell the
sources of its images apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from medpipe.data.features import UNKNOWN
from medpipe.evaluation.intervals import Estimates, Resamples
from medpipe.evaluation.metrics import mean_of_present

TOLD = "balanced_accuracy"


@dataclass(frozen=True)
class Source:
    """How well sources are told apart within a class.

    - estimates: balanced accuracy (TOLD), its mean over classes, and in every resample of groups
    - chance: the mean over classes of what guessing has
    - classes: of each class with two sources or more {rows, groups, sources, balanced_accuracy, chance}
    """

    estimates: Estimates
    chance: float
    classes: dict[str, dict[str, Any]]


def probe(
    embedding: npt.NDArray[np.float32], rows: pd.DataFrame, folds: int, c: float, resamples: int, seed: int
) -> Source | None:
    """Multinomial logistic regression from `embedding` (n, features) to `rows["source"]`, class by class.

    `rows` has columns label, source and group, a row of the embedding each. Every row is predicted by a model that saw
    no row of its group: `folds`-fold cross-validation, L2 penalty of inverse strength `c`, sources weighted alike. In a
    class those sources count that have as many groups as there are folds; unknown ones do not. None where no class has
    two of them.
    """
    rows = rows.reset_index(drop=True)
    classes: dict[str, dict[str, Any]] = {}
    parts = []
    for label, own in rows[rows["source"] != UNKNOWN].groupby("label"):
        groups = own.groupby("source")["group"].nunique()
        known = groups.index[groups >= folds]
        if len(known) < 2:
            continue
        own = own[own["source"].isin(known)]
        told = _cross_validated(embedding[own.index], own["source"].to_numpy(), own["group"].to_numpy(), folds, c, seed)
        own = own.assign(right=told == own["source"])
        parts.append(own)
        classes[str(label)] = {
            "rows": len(own),
            "groups": int(own["group"].nunique()),
            "sources": known.tolist(),
            TOLD: float(own.groupby("source")["right"].mean().mean()),
            "chance": 1 / len(known),
        }
    if not parts:
        return None
    used = pd.concat(parts)
    resamples_of = Resamples(used["group"].to_numpy(), resamples, seed)
    value, chance = (float(np.mean([found[key] for found in classes.values()])) for key in (TOLD, "chance"))
    # Folds share most of their training rows, so that their errors go together, which resampling does not see
    # (Nadeau & Bengio 2003, doi 10.1023/A:1024068626366).
    draws = value + np.sqrt(1 + folds / (folds - 1)) * (_drawn(used, resamples_of) - value)
    names = tuple(resamples_of.names.tolist())
    return Source(Estimates(len(used), names, {TOLD: value}, {TOLD: draws}), chance, classes)


def _drawn(used: pd.DataFrame, resamples: Resamples) -> npt.NDArray[np.float64]:
    """(r,) the balanced accuracy within a class, its mean over classes, in each resample of groups."""
    weights = resamples.weights  # (r, g)
    means = []
    for _, own in used.assign(code=resamples.codes).groupby("label"):
        recalls = []
        for _, rows in own.groupby("source"):
            hits, total = (
                weights @ np.bincount(rows["code"], values, weights.shape[1])
                for values in (rows["right"].to_numpy(float), np.ones(len(rows)))
            )
            recalls.append(np.where(total > 0, hits / np.where(total > 0, total, 1), np.nan))
        means.append(mean_of_present(np.stack(recalls, axis=1)))
    return mean_of_present(np.stack(means, axis=1))


def _cross_validated(
    embedding: npt.NDArray[np.float32], sources: npt.NDArray, groups: npt.NDArray, folds: int, c: float, seed: int
) -> npt.NDArray:
    told = np.empty_like(sources)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # the matrices are small, and threads that wait for each other cost more than they save
        for train, test in splitter.split(embedding, sources, groups):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=c, class_weight="balanced", max_iter=1000))
            told[test] = model.fit(embedding[train], sources[train]).predict(embedding[test])
    return told
