"""The weights of a mean of classifiers, chosen on the validation rows of their prediction tables."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe.evaluation.predictions import classified, same_rows, temperature_of
from medpipe.models.temperature import untemper

Array = npt.NDArray[np.float64]
GAP = 1e-6  # nats by which the mean log loss may miss its minimum


def choose_weights(tables: Mapping[str, pd.DataFrame], classes: tuple[str, ...]) -> list[float]:
    """The weights, adding up to 1, of the mean of the members' `tables` with the least log loss on validation rows.

    The mean is taken of what the members say before their temperature; it gets one of its own.
    Raises InputError that names the members and ids where their validation rows differ.
    """
    rows = {name: table[table["set"] == "val"].sort_values("id", ignore_index=True) for name, table in tables.items()}
    first = next(iter(rows))
    chances = []
    for name, table in rows.items():
        same_rows(first, rows[first], name, table)
        p = classified(name, table, classes)
        said = untemper(p.probabilities, temperature_of(name, table, classes))
        chances.append(said[np.arange(len(p.truth)), p.truth])
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
