"""What tables say, in closed form."""

import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT

from medpipe.exploration import facts
from medpipe.params import Declaration

CLASSES = ("cyst", "tumour", "none seen")
TASK = Declaration(
    archive="", reader={"kind": "radiography"}, decoding=EIGHT_BIT, kind="classify", classes=CLASSES, mask_values=None,
    features={"side": {"values": ["left", "right"]}}, subgroups=("scanner", "band"), external=None,
)  # fmt: skip
N = 8
MANIFEST = pd.DataFrame(
    {
        "id": [f"i{k}" for k in range(N)],
        "path": [f"a/i{k}.JPG" for k in range(6)] + ["table.csv#6", "a/i7"],
        "width": [20, 20, 20, 20, 30, 30, 30, 30],
        "height": 10,
        "label": ["cyst"] * 6 + ["tumour"] * 2,
        "group": ["p", "p", "p", "q", "r", "r", "s", "t"],
        "source": ["a", "a", "a", "a", "a", "a", "b", "unknown"],
        "scanner": ["x", "x", "x", "x", "y", "y", "y", "y"],
        "side": ["left", "right", "unknown", "left", "", None, "left", "left"],
        "dose": [1.0, 2.0, 3.0, np.nan, 9.0, 9.0, 5.0, 7.0],
    }
)
BANDS = ["10+", "0-9", "0-9", "unknown", "10+", "10+", "10+", "10+"]
ROWS = pd.DataFrame(
    {
        "id": MANIFEST["id"][::-1],
        "set": ["test", "train", "val", "val", "train", "train", "train", "train"],
        "group": ["t", "s", "r", "r", "p", "p", "p", "p"],  # q was merged into p
    }
)


@pytest.fixture
def table():
    return facts.joined(MANIFEST.assign(band=BANDS), ROWS)


def test_rows_get_their_set_the_splits_group_and_what_their_file_is(table):
    assert table["set"].tolist() == ["train"] * 4 + ["val", "val", "train", "test"]
    assert table["group"].tolist() == ["p", "p", "p", "p", "r", "r", "s", "t"]
    assert table["format"].tolist() == ["jpg"] * 6 + ["csv", "none"]
    assert table["size"].tolist() == ["20 x 10"] * 4 + ["30 x 10"] * 4


def test_every_class_is_counted_in_every_set_that_has_rows(table):
    found = facts.class_counts(table, CLASSES)
    assert found["rows"] == {
        "cyst": {"train": 4, "val": 2, "test": 0},
        "tumour": {"train": 1, "val": 0, "test": 1},
        "none seen": {"train": 0, "val": 0, "test": 0},
    }
    assert found["groups"]["cyst"] == {"train": 1, "val": 1, "test": 0}
    assert facts.group_sizes(table) == {"groups": 4, "mean": 2.0, "max": 4, "single": 2}


def test_balance_is_what_undersampling_leaves():
    labels = pd.Series(["cyst"] * 300 + ["tumour"] * 100)
    assert facts.balance(labels, CLASSES, 1.02, 1) == {
        "before": {"cyst": 300, "tumour": 100, "none seen": 0},
        "after": {"cyst": 102, "tumour": 100, "none seen": 0},
    }


def test_missing_empty_and_unknown_values_are_one_thing():
    assert facts.missing(MANIFEST) == {
        "source": {"missing": 1, "share": 1 / 8, "values": 2},
        "scanner": {"missing": 0, "share": 0.0, "values": 2},
        "side": {"missing": 3, "share": 3 / 8, "values": 2},
        "dose": {"missing": 1, "share": 1 / 8, "values": 6},
    }


def test_numbers_are_those_of_the_archive_by_class(table):
    assert facts.numeric_columns(MANIFEST) == ["dose"]
    found = facts.numbers_by_class(table[table["set"] == "train"], ["dose"], CLASSES)["dose"]
    assert found["cyst"] == {"rows": 4, "missing": 1, "mean": 2, "min": 1, "q1": 1.5, "median": 2, "q3": 2.5, "max": 3}
    assert found["none seen"]["rows"] == 0
    assert found["none seen"]["median"] is None


def test_values_by_class_and_how_much_a_column_tells(table):
    columns = facts.categorical_columns(table, TASK)
    assert columns == ["scanner", "band", "side", "source", "format", "size"]
    found = facts.values_by_class(table, columns, CLASSES)
    assert found["scanner"]["counts"] == {
        "cyst": {"x": 4, "y": 2},
        "tumour": {"x": 0, "y": 2},
        "none seen": {"x": 0, "y": 0},
    }
    assert found["scanner"]["guess"] == 6 / 8
    assert found["source"]["guess"] == 1  # b and unknown are tumours, a is none
    assert list(found["band"]["counts"]["cyst"]) == ["0-9", "10+", "unknown"]  # in order, not by frequency


def test_a_column_that_says_the_same_as_another_is_left_out(table):
    again = table.assign(source=table["scanner"])
    assert "source" not in facts.categorical_columns(again, TASK)


def test_duplicates_and_quarantine_by_reason():
    quarantine = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "path": ["a.png", "", "c.png"],
            "reason": ["empty file", "duplicated: the same bytes as x", "duplicated: the same bytes as y: again"],
        }
    )
    pairs = [
        {"id": ["a", "b"], "label": ["cyst", "cyst"], "orientation": "as it is", "same_file": True},
        {"id": ["c", "d"], "label": ["cyst", "tumour"], "orientation": "mirrored", "same_file": False},
    ]
    split = {"by": "image", "near": 4, "merged": pairs, "excluded": ["e"], "leak": {"val": 0, "test": 2}}
    split["grouping"] = "grouped by image"
    assert facts.duplicates(split, quarantine) == {
        "quarantined": 2, "merged": 2, "same_file": 1, "turned": 1, "other_label": 1, "excluded": 1, "near": 4,
        "by": "image", "leak": {"test": 2}, "grouping": "grouped by image",
    }  # fmt: skip
    assert facts.quarantined(quarantine) == {
        "duplicated": {"images": 2, "first": "b: duplicated: the same bytes as x"},
        "empty file": {"images": 1, "first": "a.png: empty file"},
    }
    assert facts.quarantined(quarantine[:0]) == {}
