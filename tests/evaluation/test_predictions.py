"""Prediction tables: what is refused, and the merging of classes."""

import numpy as np
import pandas as pd
import pytest

from medpipe.errors import InputError
from medpipe.evaluation.predictions import classified, detected, merge_classes, subgroup_columns

CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
MERGE = {"other": ("Lung_Opacity", "Viral Pneumonia")}


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "set": "test",
            "group": ["g", "g", "h", "i"],
            "label": list(CLASSES),
            "p_COVID": [0.4, 0.1, 0.1, 0.4],
            "p_Lung_Opacity": [0.3, 0.2, 0.1, 0.3],
            "p_Normal": [0.1, 0.4, 0.7, 0.05],
            "p_Viral Pneumonia": [0.2, 0.3, 0.1, 0.25],
            "source": "x",
        }
    )


def test_predicted_class_is_the_most_probable(table):
    p = classified("m", table, CLASSES)
    assert p.truth.tolist() == [0, 1, 2, 3]
    assert p.predicted.tolist() == [0, 2, 2, 0]


def test_merged_probabilities_add_up(table):
    merged, classes = merge_classes("m", table, CLASSES, MERGE)
    assert classes == ("COVID", "Normal", "other")
    assert merged["label"].tolist() == ["COVID", "other", "Normal", "other"]
    np.testing.assert_allclose(merged["p_other"], [0.5, 0.5, 0.2, 0.55])
    # The merged class wins where its parts did not.
    assert classified("m", merged, classes).predicted.tolist() == [2, 2, 1, 2]
    assert subgroup_columns(merged) == ["source"]


def test_a_model_of_the_merged_classes_stays(table):
    merged, classes = merge_classes("m", table, CLASSES, MERGE)
    again, same = merge_classes("m", merged, classes, MERGE)
    assert same == classes
    pd.testing.assert_frame_equal(again, merged)


def test_half_of_what_is_merged_is_refused(table):
    with pytest.raises(InputError, match="m: has no class Viral Pneumonia to merge into other"):
        merge_classes("m", table, CLASSES[:3], MERGE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ["COVID", "Flu", "Normal", "Normal"]}, r"m: label is none of .*: b \(Flu\)"),
        ({"id": ["a", "b", "b", "d"]}, "m: predicted more than once: b"),
        ({"p_Normal": [0.1, 0.4, 0.8, 0.05]}, "m: probabilities do not add up to 1: c"),
        ({"p_Normal": [0.1, 0.4, np.nan, 0.05]}, "m: probabilities do not add up to 1: c"),
        ({"p_COVID": [0.4, -0.1, 0.1, 0.4], "p_Normal": [0.1, 0.6, 0.7, 0.05]}, "do not add up to 1: b"),
    ],
)
def test_wrong_rows_are_named(table, change, message):
    with pytest.raises(InputError, match=message):
        classified("m", table.assign(**change), CLASSES)


def test_missing_column_and_empty_table_are_refused(table):
    with pytest.raises(InputError, match="m: its predictions lack p_COVID"):
        classified("m", table.drop(columns="p_COVID"), CLASSES)
    with pytest.raises(InputError, match="m: its predictions have no row"):
        classified("m", table.head(0), CLASSES)


def test_rounding_of_half_precision_passes(table):
    half = table.assign(**{c: table[c].astype(np.float16) for c in table if c.startswith("p_")})
    np.testing.assert_allclose(classified("m", half, CLASSES).probabilities.sum(axis=1), 1)


def test_cascade_detects_where_its_mask_is_not_empty(mask_table):
    table = mask_table()
    p = detected("m", table, ("healthy", "tumour"))
    assert (p.predicted == (table["tp"] + table["fp"] > 0)).all()
    with pytest.raises(InputError, match="m: probabilities do not add up to 1"):
        detected("m", table.assign(p_tumour=1.2), ("healthy", "tumour"))
