"""Plots of one model: how it trained, what its classes look like, whom it serves worse, what it looked at."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from medpipe.evaluation.calibration_plots import plot_decisions, plot_reliability
from medpipe.evaluation.figures import COLOURS, GRID, INK, LINES, figure, shade
from medpipe.evaluation.mask_plots import Example, plot_dice, plot_gallery
from medpipe.evaluation.wording import metric_name

NOT_METRICS = ("epoch", "phase", "lr", "seconds")


def plot_all(
    folder: Path,
    report: dict[str, Any],
    table: pd.DataFrame,
    history: pd.DataFrame | None = None,
    examples: list[Example] | None = None,
    shap: tuple[str, pd.Series] | None = None,
) -> list[str]:
    """Write the plots that apply to a model into `folder`; their names.

    `report`, `table`: what report.py made and its prediction table; `history`: an epoch a row, with epoch, phase, lr,
    loss, val_loss and further metrics with their `val_`; `examples`: slices for the gallery; `shap`: a class and the
    mean |SHAP| of each feature for it.
    """
    test = report["sets"]["test"]
    rows = table[table["set"] == "test"]
    about = f"{report['model']} · test, n = {test['rows']} ({test['groups']} groups)"
    drawn = []

    def draw(name: str, plot: Any, *arguments: Any) -> None:
        plot(folder / f"{name}.png", *arguments)
        drawn.append(f"{name}.png")

    if history is not None and len(history):
        draw("curves", plot_curves, f"{report['model']} · training", history)
    if report["kind"] != "masks":
        draw("roc", plot_roc, f"ROC, one class against the rest · {about}", rows, report["classes"])
        draw("precision_recall", plot_precision_recall, f"Precision and recall · {about}", rows, report["classes"])
    found = test.get("detection", test)
    if "confusion" in found:
        draw("confusion", plot_confusion, f"Confusion · {about}", found["confusion"], report["classes"])
        draw("per_class", plot_per_class, f"Each class · {about}", found["per_class"])
    if "calibration" in found:
        of = report["classes"][1] if len(report["classes"]) == 2 else "the likeliest class"
        draw("reliability", plot_reliability, f"Reliability · {about}", found["calibration"], of)
    if "decisions" in found:
        draw("decisions", plot_decisions, f"Decisions · {about}", found["decisions"])
    if test["subgroups"]:
        draw("subgroups", plot_subgroups, f"Subgroups · {about}", test["subgroups"])
    if "patients" in test:
        draw("dice", plot_dice, f"Dice of each patient · {about}", test)
    if examples:
        about = f"Slices from the worst Dice to the best · {report['model']} · test"
        draw("gallery", plot_gallery, about, examples, list(test["per_class"]))
    if shap is not None:
        draw("shap", plot_shap, f"{report['model']} · what moves the probability of {shap[0]}", shap[1])
    return drawn


def plot_curves(path: Path, title: str, history: pd.DataFrame) -> None:
    """Loss above, each other metric below; training dashed, validation whole; each phase in a column of its own.

    Of a cross-validated model each panel has the curves of all folds (columns `fold-1/loss` and so on).
    """
    shown = [c for c in history.columns if c not in NOT_METRICS and history[c].notna().any()]
    folds = list(dict.fromkeys(c[: c.rfind("/") + 1] for c in shown))
    names = list(dict.fromkeys(c[c.rfind("/") + 1 :] for c in shown))
    metrics = [name for name in names if name not in NOT_METRICS and not name.startswith(("val_", "draws_"))]
    metrics.sort(key=lambda name: name != "loss")
    history = history.assign(epoch=np.arange(1, len(history) + 1))
    phases = [part for _, part in history.groupby("phase", sort=False)] if "phase" in history else [history]
    widths = [max(len(part), len(history) / 4) for part in phases]  # or a short one has no room for its ticks
    with figure(path, title, 8 if len(phases) == 1 else 10, 1.2 + 2.2 * len(metrics)) as drawn:
        panels = drawn.subplots(
            len(metrics), len(phases), sharex="col", sharey="row", squeeze=False, width_ratios=widths
        )
        for column, part in enumerate(phases):
            for metric, ax in zip(metrics, panels[:, column], strict=True):
                for fold in folds:
                    _plot_curve(ax, part, fold, metric, labelled=fold == folds[0])
            if len(phases) > 1:
                panels[0, column].set_title(part["phase"].iloc[0])
            panels[-1, column].set_xlabel("epoch")
            panels[-1, column].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        for metric, ax in zip(metrics, panels[:, 0], strict=True):
            ax.set_ylabel(metric.replace("_", " ").replace("f1", "F1"))
        panels[0, -1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _plot_curve(ax: Axes, part: pd.DataFrame, fold: str, metric: str, labelled: bool) -> None:
    epochs = part["epoch"].to_numpy()
    marker = "o" if len(epochs) < 30 else None
    style: dict[str, Any] = {"marker": marker, "markersize": 3.5, "linewidth": 1.6}
    said = {name: name if labelled else None for name in ("training", "validation", "lowest")}
    ax.plot(epochs, part[f"{fold}{metric}"], "--", color=COLOURS[4], label=said["training"], **style)
    if f"{fold}val_{metric}" not in part:
        return
    val = part[f"{fold}val_{metric}"]
    ax.plot(epochs, val, "-", color=COLOURS[0], label=said["validation"], **style)
    if metric == "loss" and val.notna().any():
        best = int(np.nanargmin(val))
        ax.plot(epochs[best], val.iloc[best], "o", ms=9, mfc="none", mec=INK, label=said["lowest"], zorder=4)


def plot_roc(path: Path, title: str, rows: pd.DataFrame, classes: list[str]) -> None:
    with figure(path, title, 8, 5.2) as drawn:
        ax = drawn.subplots()
        ax.plot([0, 1], [0, 1], color=GRID, linewidth=1.2)
        for i, name in enumerate(classes):
            truth = rows["label"] == name
            if truth.all() or not truth.any():
                ax.plot([], [], **_line(i), label=f"{name}: no AUC ({truth.sum()} of {len(truth)} rows)")
                continue
            x, y, _ = roc_curve(truth, rows[f"p_{name}"])
            ax.plot(x, y, **_line(i), label=f"{name}: AUC {auc(x, y):.3f} (n = {truth.sum()})")
        _square(ax, "false positive rate", "true positive rate")


def plot_precision_recall(path: Path, title: str, rows: pd.DataFrame, classes: list[str]) -> None:
    with figure(path, title, 8, 5.2) as drawn:
        ax = drawn.subplots()
        for i, name in enumerate(classes):
            truth = rows["label"] == name
            if not truth.any():
                ax.plot([], [], **_line(i), label=f"{name}: no row")
                continue
            precision, recall, _ = precision_recall_curve(truth, rows[f"p_{name}"])
            area = average_precision_score(truth, rows[f"p_{name}"])
            ax.step(recall, precision, where="post", **_line(i), label=f"{name}: AP {area:.3f} (n = {truth.sum()})")
        _square(ax, "recall", "precision")


def _line(i: int) -> dict[str, Any]:
    """Colour, and a dash pattern beside it for who cannot tell the colours apart."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)], "linewidth": 1.8}


def _square(ax: Axes, x: str, y: str) -> None:
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=x, ylabel=y, aspect="equal")
    ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))


def plot_confusion(path: Path, title: str, counts: list[list[int]], classes: list[str]) -> None:
    matrix = np.array(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.55 * len(classes)
    with figure(path, title, 2 * side, side + 0.6) as drawn:
        panels = drawn.subplots(1, 2, sharey=True)
        for ax, values, heading in zip(panels, (matrix, shares), ("rows", "share of the true class"), strict=True):
            ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            for i, j in np.ndindex(values.shape):
                text = f"{values[i, j]:,}" if values is matrix else f"{values[i, j]:.2f}"
                ax.text(j, i, text, ha="center", va="center", fontsize=9, color=shade(shares[i, j]))
            ax.set(title=heading, xlabel="predicted")
            ax.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
            ax.set_yticks(range(len(classes)), classes)
            ax.grid(False)
            ax.tick_params(length=0)
        panels[0].set_ylabel("true")


def plot_per_class(path: Path, title: str, per_class: dict[str, dict[str, Any]]) -> None:
    metrics = {"precision": COLOURS[5], "recall": COLOURS[4], "f1": COLOURS[0]}
    x = np.arange(len(per_class))
    with figure(path, title, max(6.0, 2.4 + 1.1 * len(per_class)), 4.2) as drawn:
        ax = drawn.subplots()
        for k, (metric, colour) in enumerate(metrics.items()):
            intervals = [values[metric] for values in per_class.values()]
            place = x + (k - 1) * 0.26
            label = "F1" if metric == "f1" else metric
            ax.bar(place, [i["value"] or 0 for i in intervals], width=0.24, color=colour, label=label)
            for at, interval in zip(place, intervals, strict=True):
                if interval["low"] is not None:
                    ax.plot([at, at], [interval["low"], interval["high"]], color=INK, linewidth=1.1)
        ax.set_xticks(x, [f"{name}\nn = {values['support']}" for name, values in per_class.items()])
        ax.set(ylim=(0, 1.02))
        if any(values[metric]["low"] is None for values in per_class.values() for metric in metrics):
            ax.set_xlabel("a bar without a line has no valid interval", fontsize="medium")
        ax.grid(axis="x", visible=False)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def plot_subgroups(path: Path, title: str, subgroups: dict[str, Any]) -> None:
    """A panel a subgroup column: a dot and interval a value, and a ring for the rest of the rows.

    Of a classifier the mean recall of the classes that both have, of masks the mean Dice.
    """
    columns = {column: found["values"] for column, found in subgroups.items()}
    heights = [len(values) for values in columns.values()]
    with figure(path, title, 8, 1.3 + 0.55 * len(heights) + 0.27 * sum(heights)) as drawn:
        panels = np.atleast_1d(drawn.subplots(len(columns), 1, sharex=True, height_ratios=[h + 0.6 for h in heights]))
        for ax, (column, values) in zip(panels, columns.items(), strict=True):
            tested = subgroups[column]["test"]["metric"]
            metric = "shared_recall" if tested == "balanced_accuracy" else tested
            for i, part in enumerate(values.values()):
                found = part["overall"][metric]
                if found["value"] is None:
                    continue
                colour = "#AAAAAA" if part["small"] else COLOURS[0]
                if found["low"] is not None:
                    ax.plot([found["low"], found["high"]], [i, i], color=colour, linewidth=2.2, solid_capstyle="butt")
                ax.plot(found["value"], i, "o", color=colour, markersize=6)
                if rest := part.get("against_rest"):
                    other = found["value"] - rest["metrics"][tested]["difference"]
                    ax.plot(other, i, "o", mfc="none", mec=INK, markersize=8)
            labels = [f"{value}  (n = {part['rows']}, {part['groups']} groups)" for value, part in values.items()]
            ax.set_yticks(range(len(labels)), labels)
            ax.set(title=column.replace("_", " "), ylim=(len(labels) - 0.4, -0.6), xlim=(-0.02, 1.02))
            ax.grid(axis="y", visible=False)
        drawn.supxlabel(
            f"{metric_name(metric)}; ring: the rest; no line: no valid interval; grey: few groups", fontsize="medium"
        )


def plot_shap(path: Path, title: str, importance: pd.Series) -> None:
    """`importance`: mean |SHAP| by the feature's name; the twenty largest are drawn."""
    top = importance.sort_values(ascending=False, kind="stable").head(20)[::-1]
    with figure(path, title, 8, 1.2 + 0.28 * len(top)) as drawn:
        ax = drawn.subplots()
        ax.barh(range(len(top)), top, color=COLOURS[0], height=0.7)
        ax.set_yticks(range(len(top)), top.index)
        ax.set(xlabel="mean |SHAP value|: change of the probability", ylim=(-0.6, len(top) - 0.4))
        ax.grid(axis="y", visible=False)
