"""What a delivered classifier decides by its probabilities: on a class, or to ask a person; and on a set of classes.

Chosen on validation rows by evaluation.decisions; evaluate measures and serving says what these functions give.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

REFER = "refer"
NEVER = math.nextafter(1, 2)  # a threshold that no probability reaches
SLACK = 1 - 1e-9  # a threshold lies so little below the probability that it lets pass, lest rounding keep that out


@dataclass(frozen=True)
class Rule:
    """- of: the class told from the rest, where its probability is at least `threshold`, which may be NEVER
    - refer: the probability that the likeliest class must have, or a person is asked; NEVER: always
    - least: of each class, the probability from which on it belongs to the set
    """

    of: str
    threshold: float
    refer: float
    least: tuple[float, ...]


def decide(p: npt.NDArray[np.float64], classes: Sequence[str], rule: Rule) -> list[str]:
    """Of each row of `p` (n, k): `refer` where no class is likely enough; `of` from its threshold on; else the
    likeliest other class.
    """
    column = classes.index(rule.of)
    others = p.copy()
    others[:, column] = -1
    said = np.where(p[:, column] >= rule.threshold, column, others.argmax(axis=1))
    names = np.array(classes, dtype=object)[said]
    return np.where(p.max(axis=1) >= rule.refer, names, REFER).tolist()


def in_sets(p: npt.NDArray[np.float64], rule: Rule) -> npt.NDArray[np.bool_]:
    """(n, k): whether each class belongs to the row's set, which may be empty."""
    return p >= np.array(rule.least)


def name_sets(p: npt.NDArray[np.float64], classes: Sequence[str], rule: Rule) -> list[str]:
    """The sets as `mel, nv`, in the order of the classes."""
    return [", ".join(name for name, there in zip(classes, row, strict=True) if there) for row in in_sets(p, rule)]
