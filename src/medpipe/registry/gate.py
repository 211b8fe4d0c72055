"""The conditions under which a task's best becomes its champion: one that is not met, or is asked for and was not
measured, refuses it, by name and figure.

Of a figure with an interval a bound is asked, so that a model passes by what its test rows show and not by their luck:
the upper one of what must not exceed its limit, the lower one of what must reach it. No worse than a champion is
non-inferiority: the paired interval of the difference lies above -margin (Piaggio 2012, doi 10.1001/jama.2012.87802).
It is asked against the reigning champion and, where that is another one, against the best so far: the margins of many
elections would add up.
"""

import math
from collections.abc import Mapping
from typing import Any

from medpipe.errors import InputError
from medpipe.evaluation.wording import bounded
from medpipe.params import Gate

# {condition, key, asks: what of the figure is asked and why, limit, figure, met: None where it was not measured, why}
Condition = dict[str, Any]
Rival = dict[str, Any] | str  # what `challenge` found against a champion, or why the two cannot be compared

NOT_WORSE = "lower bound of the paired difference: that the candidate is no worse has to be shown"
AT_MOST = "upper bound: the true error is to be at most the limit"
AT_LEAST = "lower bound: the true figure of each subgroup is to reach the floor"
TESTED = "tests at the level of the intervals, corrected after Holm: no interval is asked"
KNOWN = "no figure: whether there is one to ask"


def conditions(
    task: str, gate: Gate, report: dict[str, Any], probes: dict[str, Any] | None, rivals: Mapping[str, Rival]
) -> list[Condition]:
    """What is asked of the model that `report` is of, in the order of the keys.

    `probes`: probes.json, None where none were run; they count where they are of the run that `report` is of. `rivals`:
    the champions, but for the model itself, by what they are called. Raises InputError for a floor that has no such
    metric.
    """
    found = [
        *(_margin(gate, title, rival) for title, rival in rivals.items()),
        _calibrated(gate, report),
        _subgroups(f"registry.{task}.gate.subgroup_floor.metric", gate, report),
        _alarm(gate, report, probes),
        *(_unrelated(gate, title, rival) for title, rival in rivals.items()),
    ]
    return [one | {"key": f"registry.{task}.gate.{one['key']}"} for one in found if one is not None]


def refusal(found: list[Condition]) -> str:
    """Which conditions are not met, or not measured, as a line; "" where all are met."""
    return "; ".join(
        f"{one['condition']}: {'not measured: ' * (one['met'] is None)}{one['why']} ({one['key']})"
        for one in found
        if not one["met"]
    )


def _bound(figure: Mapping[str, Any], end: str) -> float | None:
    bound = figure.get(end)
    return bound if bound is not None and math.isfinite(bound) else None


def _margin(gate: Gate, title: str, rival: Rival) -> Condition | None:
    if gate.margin is None or isinstance(rival, str):
        return None
    low = _bound(rival, "low")
    if low is None:
        reason = rival.get("why", "its bound is not a number")
        met, why = None, f"the difference has no valid interval on {rival['groups']} groups ({reason})"
    elif low < -gate.margin:
        met, why = False, f"{against(rival)}; it may be {-low:.3f} worse, of {gate.margin:g} allowed"
    else:
        met, why = True, f"{against(rival)}; not more than {gate.margin:g} worse"
    named = {"condition": f"no worse than {title}", "key": "margin", "asks": NOT_WORSE, "limit": gate.margin}
    return named | {"figure": low, "met": met, "why": why}


def against(rival: dict[str, Any]) -> str:
    """The figures of a paired comparison."""
    bounds = "no valid interval" if rival["low"] is None else f"[{rival['low']:+.3f}, {rival['high']:+.3f}]"
    difference = "none" if rival["difference"] is None else f"{rival['difference']:+.3f}"
    return (
        f"{rival['metric']} {difference} {bounds} on {rival['rows']} test rows, "
        f"{rival['new']:.3f} against {rival['old']:.3f}"
    )


def _calibrated(gate: Gate, report: dict[str, Any]) -> Condition | None:
    limit = gate.max_calibration_error
    if limit is None:
        return None
    test = report["sets"]["test"]
    error = test.get("detection", test).get("calibration", {}).get("after", {}).get("rms_calibration_error", {})
    high, met = _bound(error, "high"), None
    if high is not None:
        met, why = high <= limit, f"RMS calibration error {bounded(error)}, of {limit:g} allowed"
    elif error.get("value") is not None:
        why = f"RMS calibration error {error['value']:.3f} has no upper bound ({error.get('why', 'no valid interval')})"
    else:
        why = "no calibration is in its report"
    named = {"condition": "calibrated", "key": "max_calibration_error", "asks": AT_MOST, "limit": limit}
    return named | {"figure": high, "met": met, "why": why}


def _subgroups(key: str, gate: Gate, report: dict[str, Any]) -> Condition | None:
    if gate.subgroup_floor is None:
        return None
    metric, floor = gate.subgroup_floor.metric, gate.subgroup_floor.floor
    judged = {}
    for name, subgroup in subgroups(report).items():
        if metric not in subgroup["overall"]:
            known = ", ".join(subgroup["overall"])
            raise InputError(f"{key}: {metric} is not measured of {report['model']}'s subgroups; take one of {known}")
        if not subgroup["small"]:
            judged[" ".join(name)] = subgroup["overall"][metric]
    bounds = {name: _bound(figure, "low") for name, figure in judged.items()}
    unbounded = [name for name, low in bounds.items() if low is None]
    lows = {name: low for name, low in bounds.items() if low is not None}
    worst = min(lows, key=lambda name: lows[name], default="")
    if worst and (lows[worst] < floor or not unbounded):
        met = lows[worst] >= floor
        why = f"{metric} {bounded(judged[worst])} of {worst}, the lowest of {len(lows)}; the floor is {floor:g}"
    elif unbounded:
        reason = judged[unbounded[0]].get("why", "no valid interval")
        met, why = None, f"{metric} has no lower bound of {', '.join(unbounded)} ({reason})"
    else:
        met, why = None, "no subgroup has enough groups"
    named = {"condition": "no subgroup below the floor", "key": "subgroup_floor", "asks": AT_LEAST, "limit": floor}
    return named | {"figure": lows.get(worst), "met": met, "why": why}


def subgroups(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The subgroups of test rows by column and value: {groups, small, overall, ...} each."""
    columns = report["sets"]["test"]["subgroups"]
    return {(column, value): found for column, held in columns.items() for value, found in held["values"].items()}


def _alarm(gate: Gate, report: dict[str, Any], probes: dict[str, Any] | None) -> Condition | None:
    if gate.shortcut_alarm is None:
        return None
    met = not probes["alarm"] if probes and _are_of(probes, report) else None
    named = {"condition": "no shortcut alarm", "key": "shortcut_alarm", "asks": TESTED, "limit": gate.shortcut_alarm}
    return named | {"figure": None, "met": met, "why": probed(report, probes)}


def _are_of(probes: dict[str, Any], report: dict[str, Any]) -> bool:
    return probes["model"] == report["model"] and probes["run"] == report["run"]


def probed(report: dict[str, Any], probes: dict[str, Any] | None) -> str:
    """What the probes for shortcuts say of the model that `report` is of, in words."""
    if probes is None:
        return "no probes were run"
    if not _are_of(probes, report):
        training = "an earlier training of " * (probes["model"] == report["model"])
        alarm = "an alarm" if probes["alarm"] else "no alarm"
        return f"the probes were run on {training}{probes['model']}, not on this model; of that they raise {alarm}"
    return f"the probes raise an alarm: {probes['why']}" if probes["alarm"] else "the probes raise no alarm"


def _unrelated(gate: Gate, title: str, rival: Rival) -> Condition | None:
    if gate.unrelated is None or not isinstance(rival, str):
        return None
    named = {"condition": f"comparable with {title}", "key": "unrelated", "asks": KNOWN, "limit": gate.unrelated}
    why = f"{rival}; to accept that, set the key to null, or take the alias from {title} in MLflow"
    return named | {"figure": None, "met": False, "why": why}
