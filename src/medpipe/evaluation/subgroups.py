"""The same metrics for each value of each subgroup column: who the model serves worse."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from medpipe.evaluation.intervals import Estimates
from medpipe.evaluation.predictions import subgroup_columns

SMALL = 20  # groups; an interval from fewer is too narrow to be taken at its word


def by_subgroup(
    table: pd.DataFrame, estimate: Callable[[pd.DataFrame], Estimates], metrics: tuple[str, ...], confidence: float
) -> dict[str, dict[str, dict[str, Any]]]:
    """{column: {value: {rows, groups, small, metrics: {name: {value, low, high}}}}}, in the order of the values."""
    report: dict[str, dict[str, dict[str, Any]]] = {}
    for column in subgroup_columns(table):
        report[column] = {}
        values = table[column].astype("string").fillna("unknown")
        for value in sorted(values.unique()):
            estimates = estimate(table[values == value])
            report[column][value] = {
                "rows": estimates.rows,
                "groups": len(estimates.groups),
                "small": len(estimates.groups) < SMALL,
                "metrics": {metric: estimates.interval(metric, confidence) for metric in metrics},
            }
    return report
