"""Plots of what probabilities are worth: reliability before and after the temperature, the decision and risk curves."""

from pathlib import Path
from typing import Any

from medpipe.evaluation.figures import COLOURS, GRID, INK, figure
from medpipe.evaluation.wording import from_on


def plot_reliability(path: Path, title: str, calibration: dict[str, Any], of: str) -> None:
    """How often what is said with a probability is true, a mark a bin of as many rows each.

    `calibration`: of a set in the report; `of`: whose probability it is.
    """
    with figure(path, title, 8, 5.2) as drawn:
        ax = drawn.subplots()
        ax.plot([0, 1], [0, 1], color=GRID, linewidth=1.2)
        for when, colour, line in (("before", COLOURS[1], "--"), ("after", COLOURS[0], "-")):
            found = calibration[when]
            x, y = ([one[name] for one in found["bins"]] for name in ("confidence", "accuracy"))
            label = f"{when}: ECE {found['ece']['value']:.3f}, Brier {found['brier']['value']:.3f}"
            ax.plot(x, y, line, marker="o", markersize=5, color=colour, linewidth=1.6, label=label)
        ax.set(
            xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal", xlabel=f"probability of {of}", ylabel="true share"
        )
        ax.legend(title="temperature", loc="center left", bbox_to_anchor=(1.02, 0.5), alignment="left")


def plot_decisions(path: Path, title: str, decisions: dict[str, Any]) -> None:
    """Net benefit by threshold, and error by share answered; what was chosen on validation rows is marked.

    `decisions`: of a set in the report.
    """
    of, threshold = decisions["rule"]["of"], decisions["rule"]["threshold"]
    curve, risk, figures = decisions["curve"], decisions["risk"], decisions["figures"]
    answered, error = 1 - figures["referred"]["value"], figures["error"]["value"]
    with figure(path, title, 10, 4.2) as drawn:
        left, right = drawn.subplots(1, 2)
        left.plot(curve["threshold"], curve["treat_all"], "--", color=COLOURS[4], linewidth=1.4, label=f"all {of}")
        left.axhline(0, color="#888888", linewidth=1.2, label=f"none {of}")
        left.plot(curve["threshold"], curve["model"], color=COLOURS[0], linewidth=1.8, label="model")
        left.axvline(threshold, color=INK, linewidth=0.9, linestyle=":", label=f"chosen: {from_on(threshold)}")
        top = max(*curve["model"], *curve["treat_all"], 0.01)
        left.set(xlim=(0, 1), ylim=(-0.25 * top, 1.08 * top), xlabel="threshold", ylabel="net benefit")
        left.set_title("decision curve")
        left.legend()
        right.plot(risk["coverage"], risk["risk"], color=COLOURS[0], linewidth=1.8)
        if error is not None:
            right.plot(answered, error, "o", ms=8, mfc="none", mec=INK, label=f"chosen: {1 - answered:.0%} referred")
            right.legend()
        right.set(xlim=(0, 1.01), ylim=(0, None), xlabel="share answered, the surest first", ylabel="error among them")
        right.set_title(f"referral to a person, AURC {figures['aurc']['value']:.3f}")
