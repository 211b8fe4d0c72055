"""Plots of masks: a gallery of slices, and each patient's Dice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from medpipe.evaluation.figures import COLOURS, INK, figure
from medpipe.evaluation.metrics import key

Colours = Sequence[tuple[float, float, float]]  # of what masks mark, from 1 on

TRUTH, PREDICTED = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)  # red and green, as the originals drew them
CLASSES: Colours = [to_rgb(colour) for colour in COLOURS if colour != "#000000"]  # where masks mark several


class Example(NamedTuple):
    """A slice with its masks, as prepared."""

    id: str
    image: np.ndarray  # (h, w, 3) uint8
    truth: np.ndarray  # (h, w) in {0, ..., k}
    predicted: np.ndarray  # (h, w) in {0, ..., k}


def overlay(image: np.ndarray, mask: np.ndarray, colours: Colours) -> np.ndarray:
    """(h, w, 3) float in [0, 1]: the slice in grey, what its mask marks tinted and its border in full colour."""
    tinted = np.repeat(image.astype(np.float64).mean(axis=2, keepdims=True) / 255, 3, axis=2)
    for place in np.unique(mask[mask > 0]):
        part, colour = mask == place, np.array(colours[(place - 1) % len(colours)])
        inner = part.copy()
        inner[1:-1, 1:-1] &= part[:-2, 1:-1] & part[2:, 1:-1] & part[1:-1, :-2] & part[1:-1, 2:]
        tinted[part] = 0.65 * tinted[part] + 0.35 * colour
        tinted[part & ~inner] = colour
    return tinted


def shown(mask: np.ndarray, colours: Colours) -> np.ndarray:
    """(h, w, 3) float in [0, 1]: the mask in its colours, on black."""
    return np.array([(0.0, 0.0, 0.0), *colours])[np.where(mask > 0, (mask - 1) % len(colours) + 1, 0)]


def legend(drawn: Figure, names: Sequence[str]) -> None:
    """Below the figure the colour of each class, where masks mark several."""
    patches = [Patch(color=CLASSES[i % len(CLASSES)], label=name) for i, name in enumerate(names)]
    if patches:
        drawn.legend(handles=patches, loc="outside lower center", ncols=min(6, len(patches)))


def plot_gallery(path: Path, title: str, examples: list[Example], names: Sequence[str]) -> None:
    """A row a slice: the slice, the true mask, the predicted one, and each laid over the slice.

    `names` are those of several classes that masks mark, a colour each; of one, truth is red and prediction green.
    """
    headings = ("slice", "true mask", "predicted mask", "truth (red)", "prediction (green)")
    colours: tuple[Colours, Colours, Colours] = ([(1.0, 1.0, 1.0)], [TRUTH], [PREDICTED])
    if names:
        headings, colours = (*headings[:3], "truth", "prediction"), (CLASSES, CLASSES, CLASSES)
    plain, true, said = colours
    with figure(path, title, 10, 0.7 + 2.1 * len(examples) + 0.3 * bool(names)) as drawn:
        legend(drawn, names)
        panels = drawn.subplots(len(examples), len(headings), squeeze=False)
        for row, example in zip(panels, examples, strict=True):
            tp = float(((example.truth > 0) & (example.truth == example.predicted)).sum())
            size = float(example.truth.astype(bool).sum() + example.predicted.astype(bool).sum())
            images = (
                example.image,
                shown(example.truth, plain),
                shown(example.predicted, plain),
                overlay(example.image, example.truth, true),
                overlay(example.image, example.predicted, said),
            )
            for ax, image in zip(row, images, strict=True):
                ax.imshow(image, interpolation="nearest")
                ax.set(xticks=[], yticks=[])
                ax.grid(False)
                ax.spines[:].set_visible(False)
            dice = 2 * tp / size if size else 1.0
            row[0].set_ylabel(f"{example.id[-22:]}\nDice {dice:.2f}", fontsize=8)
        for ax, heading in zip(panels[0], headings, strict=True):
            ax.set_title(heading, fontsize=9.5)


def plot_dice(path: Path, title: str, test: dict[str, Any]) -> None:
    """A dot a patient from the best to the worst, with the mean, its interval and the median; a small one a class."""
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
        ax.plot(
            [values["dice"] for _, values in ranked],
            range(len(ranked)),
            "o",
            color=INK if test["per_class"] else COLOURS[0],
        )
        for i, name in enumerate(test["per_class"]):
            of_class = [values[key("dice", name)] for _, values in ranked]
            ax.plot(of_class, range(len(ranked)), ".", color=CLASSES[i % len(CLASSES)], label=name)
        ax.set_yticks(range(len(ranked)), [f"{name}  ({values['slices']} slices)" for name, values in ranked])
        ax.set(xlim=(-0.02, 1.02), ylim=(len(ranked) - 0.4, -0.6), xlabel="Dice of the volume")
        ax.grid(axis="y", visible=False)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
