"""What a study has found, as files: every trial, the best one, and two plots."""

import json
from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from medpipe.evaluation.figures import COLOURS, figure
from medpipe.tuning.study import Search


def write(folder: Path, search: Search) -> None:
    """trials.csv, best.json, history.png and importance.png, the last where two trials have come to their end."""
    best, metric = search.best(), search.tuning.metric
    table(search).to_csv(folder / "trials.csv", index=False)
    found = {"study": search.study.study_name, "trial": best.number, "epoch": best.user_attrs["epoch"]}
    found |= {metric: best.value, "settings": search.changes(best)}
    (folder / "best.json").write_text(json.dumps(found, indent=1) + "\n")
    plot_history(folder / "history.png", search)
    complete = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) > 1:
        plot_importance(folder / "importance.png", search, len(complete))


def table(search: Search) -> pd.DataFrame:
    """A row a trial that counts: its state, value, last and best epoch, seconds, error, and what it changed."""
    rows = []
    for trial in search.counted:
        row = {"trial": trial.number, "state": trial.state.name.lower(), search.tuning.metric: trial.value}
        row |= {"epochs": trial.last_step, "best_epoch": trial.user_attrs.get("epoch")}
        row |= {"seconds": trial.duration and round(trial.duration.total_seconds(), 1)}
        row |= search.changes(trial) | {"error": trial.user_attrs.get("error")}
        rows.append(row)
    return pd.DataFrame(rows).astype({"epochs": "Int64", "best_epoch": "Int64"})


def plot_history(path: Path, search: Search) -> None:
    """Each trial's value by its number, those that were stopped or failed too, and the best so far."""
    metric = search.tuning.metric
    lowest = metric == "val_loss"
    complete, pruned, failed = (
        [trial for trial in search.counted if trial.state == state]
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    )
    with figure(path, f"{search.name}: {len(search.counted)} trials", 7, 4) as drawn:
        axes = drawn.subplots()
        numbers = [trial.number for trial in complete]
        values = pd.Series([trial.value for trial in complete])
        so_far = values.cummin() if lowest else values.cummax()
        axes.step(
            [*numbers, search.counted[-1].number],
            [*so_far, so_far.iloc[-1]],
            where="post",
            color=COLOURS[1],
            label="best so far",
        )
        axes.scatter(numbers, values, color=COLOURS[0], label="trained to its end", zorder=3)
        if pruned:
            ends = [trial.intermediate_values[trial.last_step or 0] for trial in pruned]
            stopped = [trial.number for trial in pruned]
            axes.scatter(stopped, ends, edgecolor=COLOURS[0], facecolor="none", label="stopped, at its last epoch")
        if failed:
            marks = [trial.number for trial in failed]
            axes.scatter(
                marks,
                [0.02] * len(marks),
                marker="x",
                color="black",
                label="failed",
                transform=axes.get_xaxis_transform(),
            )
        # The failed ones have no value, so the axis does not reach out for them by itself.
        first, last = search.counted[0].number, search.counted[-1].number
        axes.set(xlabel="trial", ylabel=metric, xlim=(first - 0.5, last + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        drawn.legend(loc="outside lower center", ncols=4)


def plot_importance(path: Path, search: Search, count: int) -> None:
    """The share of the variance of the trials' values that each setting accounts for (fANOVA, Hutter et al. 2014)."""
    shares = get_param_importances(search.study, evaluator=FanovaImportanceEvaluator(seed=search.seed))
    with figure(path, f"{search.name}: importance for {search.tuning.metric}", 7, 1.2 + 0.4 * len(shares)) as drawn:
        axes = drawn.subplots()
        bars = axes.barh([*shares][::-1], [*shares.values()][::-1], color=COLOURS[0])
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.set(xlim=(0, 1.08), xlabel=f"share of the variance over {count} trials (fANOVA)")
        axes.grid(axis="y", visible=False)
