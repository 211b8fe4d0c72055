"""When a probe raises an alarm.

A model that was trained without the region of interest should tell nothing: what it says is then independent of the
class, and the area under its ROC curve is 0.5 but for chance, however rare a class is. (Its macro F1 is not ZeroR's:
one that guesses has more.) So a probe tests, one-sided, whether its figure lies above that of chance, by the
bootstrap's standard error over groups; Holm's correction keeps the probability of any false alarm of a task at
1 - confidence.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from medpipe.evaluation.intervals import holm


def above(value: float, draws: npt.NDArray[np.float64], chance: float, null: float) -> float | None:
    """p, one-sided, of the null hypothesis that `value` is no more than `chance`; `draws` are its bootstrap's.

    Where all draws are alike, as those of an area of 1, the standard error is `null`, that under the null hypothesis.
    None where no draw could be measured.
    """
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return None
    spread = float(draws.std())
    return float(norm.sf((value - chance) / (spread if spread > 1e-9 else null)))


def null_area(groups: int, others: int) -> float:
    """The standard error under the null hypothesis of an area between so many groups (Mann & Whitney 1947)."""
    return float(np.sqrt((groups + others + 1) / (12 * groups * others)))


def raised(p: Mapping[str, float | None], confidence: float) -> dict[str, tuple[float | None, bool]]:
    """Of each probe its p value after Holm's correction, and whether that raises an alarm; without a p none does."""
    corrected = holm(dict(p))
    return {name: (value, value is not None and not value >= 1 - confidence) for name, value in corrected.items()}
