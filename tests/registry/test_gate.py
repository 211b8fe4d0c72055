import math
from pathlib import Path

import numpy as np
import pytest

from medpipe import params
from medpipe.errors import InputError
from medpipe.evaluation.calibration import calibration
from medpipe.evaluation.predictions import Predictions
from medpipe.params import Gate
from medpipe.registry.gate import conditions, refusal
from medpipe.registry.register import SHOWN, shortened

EVALUATE = params.load(Path(__file__).parents[2]).evaluate.model_copy(update={"resamples": 100})
OPEN = {
    "margin": None,
    "max_calibration_error": None,
    "subgroup_floor": None,
    "shortcut_alarm": None,
    "unrelated": None,
}
RIVAL = {
    "metric": "macro_f1",
    "new": 0.61,
    "old": 0.62,
    "difference": -0.01,
    "low": -0.05,
    "high": 0.03,
    "rows": 90,
    "groups": 60,
}
SUBGROUPS = {
    "sex": {
        "values": {
            "male": {"small": False, "overall": {"shared_recall": {"value": 0.5, "low": 0.4, "high": 0.6}}},
            "female": {"small": False, "overall": {"shared_recall": {"value": 0.6, "low": 0.5, "high": 0.7}}},
            "unknown": {"small": True, "overall": {"shared_recall": {"value": 0.0, "low": 0.0, "high": 0.0}}},
        }
    }
}
UNBOUNDED = {
    "small": False,
    "overall": {"shared_recall": {"value": 0.9, "low": None, "high": None, "why": "25 groups"}},
}
WITHOUT = {"sex": {"values": SUBGROUPS["sex"]["values"] | {"other": UNBOUNDED}}}
PROBES = {"model": "m", "run": "r", "alarm": False, "why": "0.5"}
ALARM = PROBES | {"alarm": True, "why": "0.9 from the border alone"}


def asked(gate, report=None, probes=None, rivals=None):
    report = {"model": "m", "run": "r", "sets": {"test": {"subgroups": SUBGROUPS} | (report or {})}}
    return conditions("skin", Gate.model_validate(OPEN | gate), report, probes, rivals or {})


def calibrated(ece, high):
    return {"calibration": {"after": {"rms_calibration_error": {"value": ece, "low": 0.0, "high": high}}}}


def floor(value):
    return {"subgroup_floor": {"metric": "shared_recall", "floor": value}}


def rival(**figures):
    return {"the champion": RIVAL | figures}


@pytest.mark.parametrize(
    ("gate", "evidence", "met", "figure"),
    [
        ({"margin": 0.05}, {"rivals": rival()}, True, -0.05),  # the end of the interval may touch the margin
        ({"margin": 0.04}, {"rivals": rival()}, False, -0.05),
        ({"margin": 0.0}, {"rivals": rival(low=0.0)}, True, 0.0),
        ({"margin": 0.02}, {"rivals": rival(low=None, high=None)}, None, None),  # too few groups
        ({"margin": 0.02}, {"rivals": rival(low=math.nan)}, None, None),
        ({"max_calibration_error": 0.1}, {"report": calibrated(0.05, 0.1)}, True, 0.1),
        ({"max_calibration_error": 0.1}, {"report": calibrated(0.05, 0.11)}, False, 0.11),
        ({"max_calibration_error": 0.1}, {"report": calibrated(0.05, None)}, None, None),
        ({"max_calibration_error": 0.1}, {"report": calibrated(0.05, math.nan)}, None, None),
        ({"max_calibration_error": 0.1}, {"report": {"detection": calibrated(0.05, 0.2)}}, False, 0.2),  # of a cascade
        ({"max_calibration_error": 0.1}, {}, None, None),
        (floor(0.4), {}, True, 0.4),
        (floor(0.45), {}, False, 0.4),
        (floor(0.45), {"report": {"subgroups": WITHOUT}}, False, 0.4),
        (floor(0.4), {"report": {"subgroups": WITHOUT}}, None, 0.4),  # one of them may be below
        (floor(0.4), {"report": {"subgroups": {}}}, None, None),
        ({"shortcut_alarm": "refuse"}, {}, None, None),
        ({"shortcut_alarm": "refuse"}, {"probes": PROBES}, True, None),
        ({"shortcut_alarm": "refuse"}, {"probes": ALARM}, False, None),
        ({"shortcut_alarm": "refuse"}, {"probes": PROBES | {"model": "another"}}, None, None),
        ({"shortcut_alarm": "refuse"}, {"probes": PROBES | {"run": "an earlier one"}}, None, None),
        ({"unrelated": "refuse"}, {"rivals": {"the champion": "it cannot be compared"}}, False, None),
    ],
)
def test_a_condition_refuses_by_the_bound_that_it_names_and_so_does_one_that_was_not_measured(
    gate, evidence, met, figure
):
    [found] = asked(gate, **evidence)
    assert (found["met"], found["figure"]) == (met, figure)
    assert found["key"] == f"registry.skin.gate.{next(iter(gate))}"
    bound = {"margin": "lower bound", "max_calibration_error": "upper bound", "subgroup_floor": "lower bound"}.get(
        next(iter(gate)), ""
    )
    assert found["asks"].startswith(bound)
    assert (found["key"] in refusal([found])) == (met is not True)
    assert ("not measured" in refusal([found])) == (met is None)


def test_few_rows_do_not_show_a_calibration():
    """With a true error of 0.2 and 40 rows, 41 % of the estimates themselves are below 0.15."""
    rng, passed = np.random.default_rng(0), 0
    for _ in range(20):
        truth, said = (rng.random(40) < 0.7).astype(int), np.full(40, 0.9)
        p = Predictions(("a", "b"), np.arange(40).astype(str), truth, np.ones(40, int), np.stack([1 - said, said], 1))
        [found] = asked({"max_calibration_error": 0.15}, {"calibration": calibration(p, 1.0, EVALUATE, 0)})
        passed += found["met"] is True
    assert passed <= 2


def test_the_margin_is_asked_against_the_best_champion_too():
    best = RIVAL | {"low": -0.3}
    last, first = asked({"margin": 0.05}, rivals={"the champion": RIVAL, "the best champion so far": best})
    assert (last["condition"], last["met"]) == ("no worse than the champion", True)
    assert (first["condition"], first["met"]) == ("no worse than the best champion so far", False)


def test_an_alarm_is_said_in_its_words_and_probes_of_another_model_are_not():
    [found] = asked({"shortcut_alarm": "refuse"}, probes=ALARM)
    assert found["why"] == "the probes raise an alarm: 0.9 from the border alone"
    [found] = asked({"shortcut_alarm": "refuse"}, probes=ALARM | {"model": "another"})
    assert found["why"] == "the probes were run on another, not on this model; of that they raise an alarm"


def test_what_is_null_is_not_asked():
    assert asked({}, calibrated(1.0, 1.0), ALARM, rival()) == []
    assert asked({"margin": 0.0, "unrelated": "refuse"}) == []  # there is no champion


def test_a_floor_of_a_metric_that_is_not_measured_is_an_error():
    with pytest.raises(
        InputError, match=r"gate.subgroup_floor.metric: dice is not measured of m's subgroups; .*shared_recall"
    ):
        asked({"subgroup_floor": {"metric": "dice", "floor": 0.5}})


def test_a_description_holds_whole_sections_of_a_long_card():
    card = "# m\n" + "".join(f"\n## {i}\n\n{'x' * 900}\n" for i in range(9))
    assert shortened("# short\n") == "# short\n"
    found = shortened(card)
    assert len(found) <= SHOWN
    assert found.count("x" * 900) == found.count("## ") == 5
    assert found.endswith("`card/card.md` of the run.\n")
