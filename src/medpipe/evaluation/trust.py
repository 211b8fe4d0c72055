"""Calibration and decisions of a task's classifiers beside each other, from what evaluate reported of test rows."""

from collections.abc import Iterable, Mapping
from typing import Any

CALIBRATION = (
    "ece_before",
    "ece",
    "rms_calibration_error",
    "classwise_rms_calibration_error",
    "brier_before",
    "brier",
    "log_loss_before",
    "log_loss",
)
DECISIONS = (
    "sensitivity",
    "specificity",
    "net_benefit",
    "treat_all",
    "referred",
    "error",
    "aurc",
    "coverage",
    "set_size",
)


def calibrations(reports: Mapping[str, dict[str, Any]], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Of each model that has probabilities its `temperature` and {value, low, high} of CALIBRATION."""
    found = {}
    for name, test in _tested(reports, names, "calibration"):
        values = {"temperature": test["temperature"]}
        for when, end in (("before", "_before"), ("after", "")):
            values |= {f"{measure}{end}": one for measure, one in test[when].items()}
        found[name] = {key: values[key] for key in ("temperature", *CALIBRATION)}
    return found


def decided(reports: Mapping[str, dict[str, Any]], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Of each model that decides its `of`, `threshold` and {value, low, high} of DECISIONS."""
    found = {}
    for name, test in _tested(reports, names, "decisions"):
        about = {key: test["rule"][key] for key in ("of", "threshold")}
        found[name] = about | {key: test["figures"][key] for key in DECISIONS}
    return found


def notes(section: Mapping[str, Any]) -> list[str]:
    """What must be known to read the two tables."""
    said = []
    if section.get("calibration"):
        said.append(
            "Calibration: a network's logits are divided by its temperature, which validation rows chose; probabilities"
            " here, and those that are served, are tempered so. ECE: the expected calibration error of the likeliest"
            " class in 15 bins of equal width, which is too large where test rows are few. RMS calibration error: a"
            " root mean square in 15 bins of equal mass, less what chance leaves there, estimated over groups;"
            " classwise: of every class. Brier score: summed over classes."
        )
    if section.get("decisions"):
        said.append(
            "Decisions: the class is said from a threshold on that validation rows chose by evaluate.decide;"
            " net benefit counts false alarms at that threshold's odds, beside treating all. Referred: the share left"
            " to a person; error: of labels among the rest. Coverage: how often the set of classes, of that size on"
            " average, holds the truth."
        )
    return said


def _tested(reports: Mapping[str, dict[str, Any]], names: Iterable[str], part: str) -> list[tuple[str, dict[str, Any]]]:
    tests = {name: reports[name].get("sets", {}).get("test", {}) for name in names}
    found = {name: test.get("detection", test).get(part) for name, test in tests.items()}
    return [(name, one) for name, one in found.items() if one]
