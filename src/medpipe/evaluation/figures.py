"""The style that all plots share, and how they are saved."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe & Ito's palette, told apart by every kind of colour vision; yellow, too pale for lines, stands last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
LINES = ("-", "--", "-.", ":")
INK, GRID = "#333333", "#DDDDDD"

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
}


@contextmanager
def figure(path: Path, title: str, width: float, height: float) -> Iterator[Figure]:
    """A figure of `width` x `height` inches under `title`, saved as PNG; the same figure gives the same bytes.

    Made without pyplot, which keeps a global list of figures and picks a window system, and without `savefig`, which
    lays a figure out and draws it twice.
    """
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        drawn = Figure(figsize=(width, height))
        drawn.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        yield drawn
        canvas = FigureCanvasAgg(drawn)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())
        Image.fromarray(pixels).convert("RGB").save(path, "PNG", dpi=(drawn.dpi, drawn.dpi))


def shade(share: float) -> str:
    """White or dark ink, whichever reads on a cell of a blue scale at `share` in [0, 1]."""
    return "white" if share > 0.55 else INK
