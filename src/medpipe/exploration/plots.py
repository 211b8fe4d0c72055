"""Plots of a task's data. Each applies where the data have what it shows."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medpipe.evaluation.figures import COLOURS, INK, LINES, figure, shade
from medpipe.evaluation.mask_plots import CLASSES, TRUTH, legend, overlay, shown
from medpipe.exploration.explore import Exploration
from medpipe.exploration.pixels import BINS, Picture

VALUES = 16  # columns of a table of values by class; rarer values are one column
LONGEST = 36  # characters of a value
CHANNELS = (COLOURS[1], COLOURS[2], COLOURS[0])  # red, green, blue


def plot_all(folder: Path, task: str, found: Exploration) -> dict[str, str]:
    """Write the plots that apply into `folder`: {file name: what it shows}, in the page's order."""
    facts, drawn = found.facts, {}

    def draw(name: str, plot: Callable[..., None], shows: str, *arguments: Any) -> None:
        file = re.sub(r"\W+", "_", name) + ".png"
        plot(folder / file, f"{task} · {shows}", *arguments)
        drawn[file] = shows

    draw("classes", plot_classes, "rows of each class and set", facts["rows"])
    ratio = facts["balance"]["ratio"]
    draw("balance", plot_balance, f"training rows before and after undersampling to {ratio:g} times the rarest class",
         facts["balance"])  # fmt: skip
    draw("images", plot_images, "training images of each class", list(facts["rows"]), found.images)
    for name in facts["numbers"]:
        draw(f"number_{name}", plot_number, f"{name} by class, training rows", found.train, name, list(facts["rows"]))
    for name, values in facts["values"].items():
        if len(next(iter(values["counts"].values()))) > 1:
            draw(f"by_{name}", plot_values, f"{name} by class, rows of all sets", values["counts"])
    draw("channels", plot_channels, f"values of the channels, {len(found.seen.labels)} training images", found)
    if found.equalised:
        draw("equalised", plot_equalised, "before and after histogram equalisation", found.equalised)
    if found.masked:
        draw("masks", plot_masks, "training images and their masks, by area", found.masked,
             list(facts["masks"]["classes"]))  # fmt: skip
        draw("mask_area", plot_mask_area, "how much of an image its mask marks", found)
    if found.pairs:
        draw("duplicates", plot_pairs, "duplicates in training that tied two groups", found.pairs)
    return drawn


def plot_classes(path: Path, title: str, rows: dict[str, dict[str, int]]) -> None:
    """A panel a set, for the sets differ in size."""
    sets = list(next(iter(rows.values())))
    with figure(path, title, 10, 1.1 + 0.32 * len(rows)) as drawn:
        panels = np.atleast_1d(drawn.subplots(1, len(sets), sharey=True))
        for i, (name, ax) in enumerate(zip(sets, panels, strict=True)):
            counts = [values[name] for values in rows.values()]
            _bars(ax, list(rows), counts, COLOURS[i])
            ax.set_title(f"{name} (n = {sum(counts)})")


def plot_balance(path: Path, title: str, balance: dict[str, Any]) -> None:
    with figure(path, title, 10, 1.1 + 0.32 * len(balance["before"])) as drawn:
        panels = drawn.subplots(1, 2, sharex=True, sharey=True)
        for ax, name, colour in zip(panels, ("before", "after"), COLOURS, strict=False):
            counts = list(balance[name].values())
            _bars(ax, list(balance[name]), counts, colour)
            ax.set_title(f"{name} (n = {sum(counts)})")


def _bars(ax: Axes, labels: Sequence[str], counts: Sequence[int], colour: str) -> None:
    ax.barh(range(len(labels)), counts, color=colour, height=0.7)
    for i, count in enumerate(counts):
        ax.annotate(f"{count}", (count, i), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8.5)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(ylim=(len(labels) - 0.4, -0.6))
    ax.margins(x=0.18)
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def plot_images(path: Path, title: str, classes: Sequence[str], images: Sequence[Picture]) -> None:
    """A row a class that has a training image."""
    of = {label: [picture for picture in images if picture.label == label] for label in classes}
    of = {label: pictures for label, pictures in of.items() if pictures}
    columns = max(len(pictures) for pictures in of.values())
    height, width = np.max([picture.image.shape[:2] for picture in images], axis=0)
    with figure(path, title, 10, 0.5 + len(of) * (0.2 + 9 / columns * height / width)) as drawn:
        panels = drawn.subplots(len(of), columns, squeeze=False)
        for row, (label, pictures) in zip(panels, of.items(), strict=True):
            for ax, picture in zip(row, [*pictures, *[None] * (columns - len(pictures))], strict=True):
                _show(ax, None if picture is None else picture.image)
            row[0].set_ylabel(label, fontsize=10)


def _show(ax: Axes, image: np.ndarray | None) -> None:
    if image is not None:
        ax.imshow(image, cmap="gray", vmin=0, vmax=1 if image.ndim == 2 else None, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def plot_number(path: Path, title: str, train: pd.DataFrame, name: str, classes: Sequence[str]) -> None:
    """Left a box a class (quartiles, whiskers to 1.5 times their range), right its histogram, to its own height."""
    of = {label: train.loc[train["label"] == label, name].dropna().to_numpy(float) for label in classes}
    edges = np.histogram_bin_edges(train[name].dropna().to_numpy(float), bins=_bins(train[name]))
    with figure(path, title, 10, 1.2 + 0.5 * len(classes)) as drawn:
        left, right = drawn.subplots(1, 2, sharey=True, sharex=True)
        boxes = left.boxplot(
            list(of.values()), orientation="horizontal", positions=range(len(of)),
            widths=0.6, patch_artist=True, flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "#888888"},
            medianprops={"color": INK, "linewidth": 1.6},
        )  # fmt: skip
        for box in boxes["boxes"]:
            box.set(facecolor=COLOURS[5], edgecolor=INK)
        for i, values in enumerate(of.values()):
            counts, _ = np.histogram(values, edges)
            heights = 0.85 * counts / max(1, counts.max())
            right.bar(edges[:-1], -heights, np.diff(edges), bottom=i + 0.4, align="edge", color=COLOURS[0], alpha=0.85)
        labels = [f"{label}  (n = {len(values)})" for label, values in of.items()]
        left.set_yticks(range(len(labels)), labels)
        left.set(ylim=(len(labels) - 0.4, -0.6), xlabel=name.replace("_", " "))
        right.set(xlabel=name.replace("_", " "))
        for ax in (left, right):
            ax.grid(axis="y", visible=False)


def _bins(values: pd.Series) -> Any:
    """One bin a value where values are few, else twenty."""
    known = np.sort(values.dropna().unique())
    if len(known) < 2 or len(known) > 40:
        return 20
    step = np.diff(known).min()
    return np.arange(known[0] - step / 2, known[-1] + step, step) if (known[-1] - known[0]) / step <= 40 else 20


def plot_values(path: Path, title: str, counts: dict[str, dict[str, int]]) -> None:
    """Rows in figures, shade by the share of the class's rows."""
    table = pd.DataFrame(counts).T
    if table.shape[1] > VALUES:
        rest = table.iloc[:, VALUES - 1 :]
        table = table.iloc[:, : VALUES - 1].assign(**{f"{rest.shape[1]} others": rest.sum(axis=1)})
    shares = table.div(table.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in table.columns]
    longest = max(map(len, names))
    turned = longest * len(names) > 90  # characters in a line below the table
    with figure(path, title, 10, 1.3 + 0.34 * len(table) + (0.05 * longest if turned else 0)) as drawn:
        ax = drawn.subplots()
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, row in enumerate(table.to_numpy()):
            for j, count in enumerate(row):
                ax.text(j, i, str(count), ha="center", va="center", color=shade(shares[i, j]), fontsize=9)
        ax.set_yticks(range(len(table)), table.index)
        ax.set_xticks(range(len(names)), names)
        if turned:
            ax.tick_params("x", rotation=40)
            for label in ax.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        ax.set_title("shade: share of the class's rows", fontsize=9)
        ax.grid(False)
        ax.spines[:].set_visible(False)


def plot_channels(path: Path, title: str, found: Exploration) -> None:
    """Left the share of pixels a value, right each class's mean with its deviation."""
    seen, channels = found.seen, found.facts["channels"]
    grey = bool(seen.grey.all())
    names = ("grey",) if grey else ("channel 1 (red)", "channel 2 (green)", "channel 3 (blue)")
    colours = (INK,) if grey else CHANNELS
    with figure(path, title, 10, max(3.4, 1.4 + 0.45 * len(channels["classes"]))) as drawn:
        left, right = drawn.subplots(1, 2)
        for i, (name, colour) in enumerate(zip(names, colours, strict=True)):
            shares = seen.histogram[i] / seen.histogram[i].sum()
            left.plot((np.arange(BINS) + 0.5) / BINS, shares, color=colour, linestyle=LINES[i], label=name)
        left.set(xlabel="value, 0 black to 1", ylabel=f"share of pixels, {BINS} bins", ylim=(0, None), xlim=(0, 1))
        left.legend()
        for i in range(len(names)):
            for j, of in enumerate(channels["classes"].values()):
                y = j + (i - (len(names) - 1) / 2) * 0.22
                right.errorbar(of["mean"][i], y, xerr=of["deviation"][i], fmt="os^"[i], color=colours[i], markersize=5)
        labels = [f"{label}  (n = {of['images']})" for label, of in channels["classes"].items()]
        right.set_yticks(range(len(labels)), labels)
        right.set(ylim=(len(labels) - 0.4, -0.6), xlim=(0, 1), xlabel="mean of the pixels, and deviation")
        right.grid(axis="y", visible=False)


def plot_equalised(path: Path, title: str, pairs: Sequence[tuple[Picture, Picture]]) -> None:
    """A row an image: before, after, and how often each value occurs in both."""
    with figure(path, title, 10, 0.6 + 2.2 * len(pairs)) as drawn:
        panels = drawn.subplots(len(pairs), 3, squeeze=False, width_ratios=(1, 1, 2))
        for row, pair in zip(panels, pairs, strict=True):
            for i, (ax, picture) in enumerate(zip(row, pair, strict=False)):
                _show(ax, picture.image)
                shares = np.bincount(picture.image[..., 0].ravel(), minlength=256).reshape(BINS, -1).sum(axis=1)
                x = (np.arange(BINS) + 0.5) / BINS
                row[2].step(x, shares / shares.sum(), where="mid", color=COLOURS[i], linestyle=LINES[i])
            row[0].set_ylabel(f"{pair[0].label}\n{pair[0].id[-22:]}", fontsize=8.5)
            row[2].set(xlim=(0, 1), ylim=(0, None))
        for ax, heading in zip(panels[0], ("before", "after", "share of pixels a value"), strict=True):
            ax.set_title(heading, fontsize=9.5)
        panels[0, 2].legend(panels[0, 2].lines, ("before", "after"))


def plot_masks(path: Path, title: str, pictures: Sequence[Picture], names: Sequence[str]) -> None:
    """A column an image: the image, its mask, and the mask laid over it; a colour for each of several `names`."""
    plain, laid = (CLASSES, CLASSES) if names else ([(1.0, 1.0, 1.0)], [TRUTH])
    with figure(path, title, 10, 0.9 + 3 * 9.4 / len(pictures) + 0.3 * bool(names)) as drawn:
        legend(drawn, names)
        panels = drawn.subplots(3, len(pictures), squeeze=False)
        for column, picture in zip(panels.T, pictures, strict=True):
            assert picture.mask is not None
            images = (picture.image, shown(picture.mask, plain), overlay(picture.image, picture.mask, laid))
            for ax, image in zip(column, images, strict=True):
                _show(ax, image)
            column[0].set_title(f"{(picture.mask > 0).mean():.1%}", fontsize=9)
        for ax, name in zip(panels[:, 0], ("image", "mask", "overlay"), strict=True):
            ax.set_ylabel(name, fontsize=9)


def plot_mask_area(path: Path, title: str, found: Exploration) -> None:
    assert found.seen.area is not None
    classes, labels = found.facts["masks"]["classes"], np.array(found.seen.labels)
    area = found.seen.area.sum(axis=1)
    marked = area > 0
    with figure(path, title, 10, 3.2) as drawn:
        left, right = drawn.subplots(1, 2)
        names = [name for name in found.facts["rows"] if (labels == name).any()]
        counts = [[int((marked[labels == name] == value).sum()) for name in names] for value in (False, True)]
        left.barh(names, counts[0], color=COLOURS[5], label="nothing marked", height=0.6)
        left.barh(names, counts[1], left=counts[0], color=COLOURS[1], label="something marked", height=0.6)
        left.set(xlabel="training images of the sample", xlim=(0, 1.08 * max(map(sum, zip(*counts, strict=True)))))
        left.invert_yaxis()
        left.grid(axis="y", visible=False)
        left.legend()
        edges = np.histogram_bin_edges(100 * found.seen.area[found.seen.area > 0], bins=20)
        for i, name in enumerate(classes):
            own, colour = found.seen.area[:, i], CLASSES[i % len(CLASSES)]
            right.hist(100 * own[own > 0], edges, histtype="step", color=colour, linewidth=1.6, label=name)
        if not classes:
            right.hist(100 * area[marked], edges, color=COLOURS[1])
            median = 100 * float(np.median(area[marked]))
            right.axvline(median, color=INK, linestyle="--", label=f"median {median:.2g} %")
        right.set(xlabel="% of the image's pixels, where something is marked", ylabel="images", xlim=(0, None))
        right.legend()


def plot_pairs(path: Path, title: str, pairs: Sequence[tuple[Picture, Picture]]) -> None:
    """A column a pair."""
    columns = max(4, len(pairs))  # fewer would not leave room for the title
    with figure(path, title, 1.7 * columns, 3.6) as drawn:
        panels = drawn.subplots(2, columns, squeeze=False)
        for column, pair in zip(panels.T, [*pairs, *[()] * (columns - len(pairs))], strict=True):
            for ax in column:
                _show(ax, None)
            for ax, picture in zip(column, pair, strict=False):
                _show(ax, picture.image)
                ax.set_title(f"{picture.id[-22:]}\n{picture.label}", fontsize=8.5)
