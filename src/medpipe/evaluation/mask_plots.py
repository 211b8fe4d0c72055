"""Plots of masks: a gallery of slices, and each patient's Dice."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medpipe.evaluation.figures import COLOURS, INK, figure

TRUTH, PREDICTED = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)  # red and green, as the originals drew them


class Example(NamedTuple):
    """A slice with its masks, as prepared."""

    id: str
    image: np.ndarray  # (h, w, 3) uint8
    truth: np.ndarray  # (h, w) in {0, 1}
    predicted: np.ndarray  # (h, w) in {0, 1}


def overlay(image: np.ndarray, mask: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """(h, w, 3) float in [0, 1]: the slice in grey, its mask tinted and its border in full colour."""
    grey = np.repeat(image.astype(np.float64).mean(axis=2, keepdims=True) / 255, 3, axis=2)
    mask = mask.astype(bool)
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    tinted = grey.copy()
    tinted[mask] = 0.65 * grey[mask] + 0.35 * np.array(colour)
    tinted[mask & ~inner] = colour
    return tinted


def plot_gallery(path: Path, title: str, examples: list[Example]) -> None:
    """A row a slice: the slice, the true mask, the predicted one, and each laid over the slice."""
    headings = ("slice", "true mask", "predicted mask", "truth (red)", "prediction (green)")
    with figure(path, title, 10, 0.7 + 2.1 * len(examples)) as drawn:
        panels = drawn.subplots(len(examples), len(headings), squeeze=False)
        for row, example in zip(panels, examples, strict=True):
            tp = float((example.truth.astype(bool) & example.predicted.astype(bool)).sum())
            size = float(example.truth.astype(bool).sum() + example.predicted.astype(bool).sum())
            images = (
                example.image,
                example.truth,
                example.predicted,
                overlay(example.image, example.truth, TRUTH),
                overlay(example.image, example.predicted, PREDICTED),
            )
            for ax, image in zip(row, images, strict=True):
                ax.imshow(image, cmap="gray", vmin=0, vmax=1 if image.ndim == 2 else None, interpolation="nearest")
                ax.set(xticks=[], yticks=[])
                ax.grid(False)
                ax.spines[:].set_visible(False)
            dice = 2 * tp / size if size else 1.0
            row[0].set_ylabel(f"{example.id[-22:]}\nDice {dice:.2f}", fontsize=8)
        for ax, heading in zip(panels[0], headings, strict=True):
            ax.set_title(heading, fontsize=9.5)


def plot_dice(path: Path, title: str, test: dict[str, Any]) -> None:
    """A dot a patient from the best to the worst, with the mean, its interval and the median."""
    ranked = sorted(test["patients"].items(), key=lambda item: (-item[1]["dice"], item[0]))
    mean, median = test["overall"]["dice"], test["overall"]["dice_median"]
    with figure(path, title, 8, 1.4 + 0.26 * len(ranked)) as drawn:
        ax = drawn.subplots()
        if mean["low"] is not None:
            ax.axvspan(mean["low"], mean["high"], color="#EEEEEE", zorder=0, label="interval of the mean")
        else:
            ax.plot([], [], " ", label=f"no valid interval: {mean['why']}")
        ax.axvline(mean["value"], color=INK, linewidth=1.2, label=f"mean {mean['value']:.3f}")
        ax.axvline(median["value"], color=INK, linewidth=1.2, linestyle="--", label=f"median {median['value']:.3f}")
        ax.plot([values["dice"] for _, values in ranked], range(len(ranked)), "o", color=COLOURS[0])
        ax.set_yticks(range(len(ranked)), [f"{name}  ({values['slices']} slices)" for name, values in ranked])
        ax.set(xlim=(-0.02, 1.02), ylim=(len(ranked) - 0.4, -0.6), xlabel="Dice of the volume")
        ax.grid(axis="y", visible=False)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
