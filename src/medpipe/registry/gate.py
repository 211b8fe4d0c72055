"""The conditions under which a task's best becomes its champion: one that is not met refuses it, by name and figure.

No worse than the champion is non-inferiority: the paired interval of the difference lies above -margin (Piaggio 2012,
doi 10.1001/jama.2012.87802). What cannot be measured of a model, as the calibration of masks, refuses nothing.
"""

from typing import Any

import numpy as np

from medpipe.errors import InputError
from medpipe.params import Gate

Condition = dict[str, Any]  # {condition, key, limit, figure, met: None where it could not be measured, why}


def conditions(
    task: str, gate: Gate, report: dict[str, Any], probes: dict[str, Any] | None, rival: dict[str, Any] | str | None
) -> list[Condition]:
    """What is asked of the model that `report` is of, in the order of the keys.

    `probes`: probes.json, None where none were run. `rival`: what `challenge` found against the champion, or why the
    two cannot be compared; None where there is none but itself. Raises InputError for a floor that has no such metric.
    """
    found = [
        _margin(gate, rival),
        _calibrated(gate, report),
        _subgroups(f"registry.{task}.gate.subgroup_floor.metric", gate, report),
        _alarm(gate, probes),
        _unrelated(gate, rival),
    ]
    return [one | {"key": f"registry.{task}.gate.{one['key']}"} for one in found if one is not None]


def refusal(found: list[Condition]) -> str:
    """Which conditions are not met, as a line; "" where all are."""
    return "; ".join(f"{one['condition']}: {one['why']} ({one['key']})" for one in found if one["met"] is False)


def _said(condition: str, key: str, limit: Any, figure: float | None, met: bool | None, why: str) -> Condition:
    return {"condition": condition, "key": key, "limit": limit, "figure": figure, "met": met, "why": why}


def _margin(gate: Gate, rival: dict[str, Any] | str | None) -> Condition | None:
    if gate.margin is None or not isinstance(rival, dict):
        return None
    if (low := rival["low"]) is None:
        why = f"{rival['groups']} groups give no valid interval of the difference"
        return _said("no worse than the champion", "margin", gate.margin, None, False, why)
    why = (
        f"{against(rival)}; it may be {-low:.3f} worse, of {gate.margin:g} allowed"
        if low < -gate.margin
        else f"{against(rival)}; not more than {gate.margin:g} worse"
    )
    return _said("no worse than the champion", "margin", gate.margin, low, low >= -gate.margin, why)


def against(rival: dict[str, Any]) -> str:
    """The figures of a paired comparison."""
    bounds = "no valid interval" if rival["low"] is None else f"[{rival['low']:+.3f}, {rival['high']:+.3f}]"
    difference = "none" if rival["difference"] is None else f"{rival['difference']:+.3f}"
    return (
        f"{rival['metric']} {difference} {bounds} on {rival['rows']} test rows, "
        f"{rival['new']:.3f} against {rival['old']:.3f}"
    )


def _calibrated(gate: Gate, report: dict[str, Any]) -> Condition | None:
    if gate.max_ece is None:
        return None
    test = report["sets"]["test"]
    ece = test.get("detection", test).get("calibration", {}).get("after", {}).get("ece", {}).get("value")
    if ece is None:
        return _said("calibrated", "max_ece", gate.max_ece, None, None, "its calibration was not measured")
    why = f"expected calibration error {ece:.3f}, of {gate.max_ece:g} allowed"
    return _said("calibrated", "max_ece", gate.max_ece, ece, ece <= gate.max_ece, why)


def _subgroups(key: str, gate: Gate, report: dict[str, Any]) -> Condition | None:
    if gate.subgroup_floor is None:
        return None
    metric, floor = gate.subgroup_floor.metric, gate.subgroup_floor.floor
    measured = {}
    for name, subgroup in subgroups(report).items():
        if metric not in subgroup["overall"]:
            known = ", ".join(subgroup["overall"])
            raise InputError(f"{key}: {metric} is not measured of {report['model']}'s subgroups; take one of {known}")
        figure = subgroup["overall"][metric]["value"]
        if not subgroup["small"] and figure is not None:
            measured[" ".join(name)] = figure
    named = "no subgroup below the floor", "subgroup_floor", floor
    if not measured:
        return _said(*named, None, None, "no subgroup has enough groups")
    worst = min(measured, key=lambda name: np.nan_to_num(measured[name], nan=-np.inf))
    why = f"{metric} {measured[worst]:.3f} of {worst}, the lowest of {len(measured)}; the floor is {floor:g}"
    return _said(*named, measured[worst], measured[worst] >= floor, why)


def subgroups(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The subgroups of test rows by column and value: {groups, small, overall, ...} each."""
    columns = report["sets"]["test"]["subgroups"]
    return {(column, value): found for column, held in columns.items() for value, found in held["values"].items()}


def _alarm(gate: Gate, probes: dict[str, Any] | None) -> Condition | None:
    if gate.shortcut_alarm is None:
        return None
    named = "no shortcut alarm", "shortcut_alarm", gate.shortcut_alarm, None
    return _said(*named, None if probes is None else not probes["alarm"], probed(probes))


def probed(probes: dict[str, Any] | None) -> str:
    """What the probes for shortcuts say, in words."""
    if probes is None:
        return "no probes were run"
    return probes["why"] if probes["alarm"] else "the probes raise no alarm"


def _unrelated(gate: Gate, rival: dict[str, Any] | str | None) -> Condition | None:
    if gate.unrelated is None or not isinstance(rival, str):
        return None
    why = f"{rival}; to accept that, set the key to null, or take the alias from the champion in MLflow"
    return _said("comparable with the champion", "unrelated", gate.unrelated, None, False, why)
