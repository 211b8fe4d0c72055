"""The weighted mean of classifiers' prediction tables, with weights that validation chooses."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.evaluation.predictions import classified, same_rows

Array = npt.NDArray[np.float64]
GAP = 1e-6  # nats by which the mean log loss may miss its minimum


def align(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The members' tables by name, sorted by id, with the same rows: external ones only where all members have them.

    Raises InputError that names the members and ids that differ in another set.
    """
    external = [set(table["id"][table["set"] == "external"]) for table in tables.values()]
    shared = set.intersection(*external)
    kept = {
        name: table[(table["set"] != "external") | table["id"].isin(shared)].sort_values("id", ignore_index=True)
        for name, table in tables.items()
    }
    first, *others = kept
    for name in others:
        same_rows(first, kept[first], name, kept[name])
    return kept


def choose_weights(tables: Mapping[str, pd.DataFrame], classes: tuple[str, ...]) -> list[float]:
    """The weights, adding up to 1, of the mean of aligned `tables` with the least log loss on validation rows."""
    chances = []
    for name, table in tables.items():
        p = classified(name, table[table["set"] == "val"], classes)
        chances.append(p.probabilities[np.arange(len(p.truth)), p.truth])
    return maximise(np.stack(chances, axis=1)).tolist()


def maximise(chances: Array) -> Array:
    """The w (m,) in the simplex that maximises the mean of log(chances @ w); `chances` (n, m), n > 0, in [0, 1].

    A concave function; expectation maximisation from equal weights, w *= mean(chances / (chances @ w)), climbs to its
    maximum. The largest factor's logarithm bounds what is missing (Cover 1984, doi:10.1109/TIT.1984.1056869).
    """
    chances = np.maximum(chances, np.finfo(np.float64).eps)  # as the log loss does
    w = np.full(chances.shape[1], 1 / chances.shape[1])
    while True:
        factors = (chances / (chances @ w)[:, None]).mean(axis=0)
        if np.log(factors.max()) < GAP:
            return w
        w = w * factors


def average(tables: Mapping[str, pd.DataFrame], classes: Sequence[str], weights: Sequence[float]) -> pd.DataFrame:
    """The weighted mean of aligned `tables`, with the first one's other columns."""
    columns = [f"p_{name}" for name in classes]
    pairs = zip(weights, tables.values(), strict=True)
    mean = sum(weight * table[columns].to_numpy(np.float64) for weight, table in pairs)
    first = next(iter(tables.values()))
    return first.assign(**dict(zip(columns, np.asarray(mean, np.float32).T, strict=True)))
