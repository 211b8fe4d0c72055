import pytest

from medpipe.errors import InputError
from medpipe.params import Gate
from medpipe.registry.gate import conditions, refusal
from medpipe.registry.register import SHOWN, shortened

OPEN = {"margin": None, "max_ece": None, "subgroup_floor": None, "shortcut_alarm": None, "unrelated": None}
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
            "male": {"small": False, "overall": {"shared_recall": {"value": 0.4}}},
            "female": {"small": False, "overall": {"shared_recall": {"value": 0.6}}},
            "unknown": {"small": True, "overall": {"shared_recall": {"value": 0.0}}},
        }
    }
}


def asked(gate, report=None, probes=None, rival=None):
    report = {"model": "m", "sets": {"test": {"subgroups": SUBGROUPS} | (report or {})}}
    return conditions("skin", Gate.model_validate(OPEN | gate), report, probes, rival)


def calibrated(ece):
    return {"calibration": {"after": {"ece": {"value": ece}}}}


@pytest.mark.parametrize(
    ("gate", "evidence", "met", "figure"),
    [
        ({"margin": 0.05}, {"rival": RIVAL}, True, -0.05),  # the end of the interval may touch the margin
        ({"margin": 0.04}, {"rival": RIVAL}, False, -0.05),
        ({"margin": 0.0}, {"rival": RIVAL | {"low": 0.0}}, True, 0.0),
        ({"margin": 0.02}, {"rival": RIVAL | {"low": None, "high": None}}, False, None),  # too few groups
        ({"max_ece": 0.1}, {"report": calibrated(0.1)}, True, 0.1),
        ({"max_ece": 0.1}, {"report": calibrated(0.11)}, False, 0.11),
        ({"max_ece": 0.1}, {"report": {"detection": calibrated(0.2)}}, False, 0.2),  # of a cascade
        ({"max_ece": 0.1}, {}, None, None),
        ({"subgroup_floor": {"metric": "shared_recall", "floor": 0.4}}, {}, True, 0.4),
        ({"subgroup_floor": {"metric": "shared_recall", "floor": 0.5}}, {}, False, 0.4),
        ({"subgroup_floor": {"metric": "shared_recall", "floor": 0.5}}, {"report": {"subgroups": {}}}, None, None),
        ({"shortcut_alarm": "refuse"}, {}, None, None),
        ({"shortcut_alarm": "refuse"}, {"probes": {"alarm": False, "why": "0.5"}}, True, None),
        ({"shortcut_alarm": "refuse"}, {"probes": {"alarm": True, "why": "0.9 from the border alone"}}, False, None),
        ({"unrelated": "refuse"}, {"rival": "it cannot be compared"}, False, None),
    ],
)
def test_a_condition_refuses_by_its_figure_and_names_its_key(gate, evidence, met, figure):
    [found] = asked(gate, **evidence)
    assert (found["met"], found["figure"]) == (met, figure)
    assert found["key"] == f"registry.skin.gate.{next(iter(gate))}"
    assert (found["key"] in refusal([found])) == (met is False)


def test_an_alarm_is_said_in_its_words():
    [found] = asked({"shortcut_alarm": "refuse"}, probes={"alarm": True, "why": "0.9 from the border alone"})
    assert found["why"] == "0.9 from the border alone"


def test_what_is_null_is_not_asked():
    assert asked({}, calibrated(1.0), {"alarm": True, "why": "0.5"}, RIVAL) == []
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
