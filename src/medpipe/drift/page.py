"""What the tests found, as one HTML page that loads nothing from outside."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medpipe.drift.martingale import FALSE_ALARMS
from medpipe.templates import template

if TYPE_CHECKING:
    from medpipe.drift.watch import Test, Watched

WIDTH, HEIGHT, POINTS = 640, 160, 400


def html(found: Sequence["Watched"]) -> str:
    from medpipe.drift.watch import said

    return template(Path(__file__).with_name("drift.html.j2"), {}).render(
        found=found, said=said, line=line, shares=shares, false_alarms=FALSE_ALARMS, width=WIDTH, height=HEIGHT
    )


def line(test: "Test") -> dict[str, str | float]:
    """A test's evidence as points of an SVG path, and the heights of the limit and of capital 1."""
    chosen = np.unique(np.linspace(0, len(test.path) - 1, POINTS).astype(int))
    low, high = min(-1.0, float(test.path.min())), max(test.limit + 0.5, float(test.path.max()))

    def up(value: float) -> float:
        return round(HEIGHT * (high - value) / (high - low), 1)

    points = " ".join(f"{WIDTH * i / max(len(test.path) - 1, 1):.1f},{up(float(test.path[i]))}" for i in chosen)
    return {"points": points, "limit": up(test.limit), "one": up(0)}


def shares(one: "Watched") -> list[tuple[str, float, float]]:
    """Of each class its share of predictions: of validation rows, of logged answers."""
    logged = one.logged
    now = np.bincount(logged.predicted, minlength=len(logged.names)) / len(logged.predicted)
    then = logged.validation / logged.validation.sum()
    return list(zip(logged.names, then.tolist(), now.tolist(), strict=True))
