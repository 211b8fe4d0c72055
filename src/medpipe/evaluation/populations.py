"""Subgroups, external set and out-of-distribution score of a task's models, as the comparison shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]


def populations(reports: Mapping[str, Report], ranking: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """What the reports of the models say, in the order of `ranking`.

    - subgroups: an entry a model and column of the test set: its test, and `worst`, the subgroup that is farthest below
      the rest, with its difference; None where none can be compared
    - external: an entry a model that was tested on an external set: the metrics of both sets and their differences
    - ood: an entry a model with an out-of-distribution score
    """
    named = {name: reports[name] for name in ranking}
    return {
        "subgroups": [
            {"model": name, "column": column, "worst": _worst(found)} | found["test"]
            for name, report in named.items()
            for column, found in report["sets"]["test"]["subgroups"].items()
        ],
        "external": [
            {
                "model": name,
                "rows": report["sets"]["external"]["rows"],
                "groups": report["sets"]["external"]["groups"],
                **report["shift"],
            }
            for name, report in named.items()
            if report["shift"]
        ],
        "ood": [{"model": name, **report["ood"]} for name, report in named.items() if report.get("ood")],
    }


def _worst(found: Mapping[str, Any]) -> dict[str, Any] | None:
    metric = found["test"]["metric"]
    compared = [
        {"name": name, "rows": value["rows"], "groups": value["groups"], "p": against["p"]} | against["metrics"][metric]
        for name, value in found["values"].items()
        if (against := value.get("against_rest")) and "p" in against
    ]
    return min(compared, key=lambda value: value["difference"], default=None)


def reading(found: Mapping[str, Any]) -> list[str]:
    """What must be known to read these figures."""
    notes = []
    if found["subgroups"]:
        notes.append(
            "Subgroups: the one that is farthest below all other test rows in mean recall over the classes of which"
            " both have enough groups (of masks: in mean Dice). p: permutations of whole groups among those of the same"
            " classes, corrected for all subgroups of the column, then by Holm's method for the columns of the model."
        )
    if found["external"]:
        notes.append(
            "External minus internal test rows: other rows, groups and resamples, so the difference is unpaired;"
            " averages are over the classes that both sets have."
        )
    if found["ood"]:
        level = found["ood"][0]["level"]
        notes.append(
            f"Out of distribution: the share of rows that lie farther from the training rows than all but {level:.0%}"
            " of the validation rows; of new cases like those it is about as large. ROC-AUC: of telling external rows"
            " from test rows by that distance."
        )
    return notes
