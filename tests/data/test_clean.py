import numpy as np
import pandas as pd
import pytest
from declared import TASKS
from manifests import brain, skin

from medpipe.data.clean import clean
from medpipe.data.features import categories
from medpipe.errors import InputError
from medpipe.params import Clean

CLASSES = TASKS["skin"].classes
FEATURES = categories(TASKS["skin"].features)

POLICIES = ("drop", "category", "impute")


@pytest.fixture
def manifest():
    """Row 1 of unknown sex, row 2 of unknown localization, row 3 of both and external; unsorted."""
    table = skin(["nv", "mel", "df", "nv", "bcc"], list("abcde"))
    table["age"] = [0.0, 29.9, 30.0, np.nan, 85.0]
    table["sex"] = ["male", "unknown", "female", "unknown", "female"]
    table["localization"] = ["back", "face", "unknown", "unknown", "lower extremity"]
    table.loc[3, "source"] = "isic2018"
    return table.sample(frac=1, random_state=1)


def features(table):
    return table.set_index("id").select_dtypes("float")


@pytest.mark.parametrize(("unknown", "kept"), [("drop", [0, 3, 4]), ("category", range(5)), ("impute", range(5))])
def test_rows_that_a_policy_keeps_are_sorted_and_the_external_test_set_stays(manifest, unknown, kept):
    table = clean(manifest, TASKS["skin"], Clean(unknown=unknown))
    assert table["id"].tolist() == [f"ISIC_{i:07d}" for i in kept]
    assert table.index.tolist() == list(range(len(table)))


@pytest.mark.parametrize("unknown", POLICIES)
def test_features_are_age_and_a_column_a_value_of_the_vocabulary(manifest, unknown):
    more = ["unknown"] if unknown == "category" else []
    expected = ["age", *(f"{name}_{value}" for name in FEATURES for value in [*FEATURES[name], *more])]
    table = clean(manifest, TASKS["skin"], Clean(unknown=unknown))
    assert features(table).columns.tolist() == expected  # whatever values occur
    assert not any(name.startswith(("dx", "label", "source", "group")) for name in features(table))


def test_one_hot_values(manifest):
    one = features(clean(manifest, TASKS["skin"], Clean(unknown="category")))
    for name in FEATURES:
        assert (one.filter(like=f"{name}_").sum(axis=1) == 1).all()
    assert one.loc["ISIC_0000004", ["age", "sex_female", "localization_lower extremity"]].tolist() == [85, 1, 1]
    assert one.loc["ISIC_0000003", ["sex_unknown", "localization_unknown"]].tolist() == [1, 1]
    assert one.loc["ISIC_0000000", "age"] == 0  # newborns are there; only NaN is unknown
    assert one["age"].isna().sum() == 1


def test_unknown_values_stay_open_where_they_are_imputed(manifest):
    table = features(clean(manifest, TASKS["skin"], Clean(unknown="impute")))
    sexes, places = table.filter(like="sex_").isna(), table.filter(like="localization_").isna()
    assert sexes.all(axis=1).tolist() == sexes.any(axis=1).tolist() == [False, True, False, True, False]
    assert places.all(axis=1).tolist() == places.any(axis=1).tolist() == [False, False, True, True, False]


def test_age_bands(manifest):
    bands = clean(manifest, TASKS["skin"], Clean(unknown="category"))["age_band"]
    assert bands.tolist() == ["0-29", "0-29", "30-44", "unknown", "75+"]
    manifest["age"] = [44.0, 45.0, 59.0, 60.0, 75.0]
    bands = clean(manifest, TASKS["skin"], Clean(unknown="category")).set_index("age")["age_band"]
    assert bands.sort_index().tolist() == ["30-44", "45-59", "45-59", "60-74", "75+"]


def test_a_task_without_features_is_only_checked_and_sorted():
    manifest = brain(3, 4)
    table = clean(manifest.iloc[::-1], TASKS["brain"], Clean(unknown=None))
    pd.testing.assert_frame_equal(table, manifest)
    assert features(table).empty


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("age", 130.0),
        ("age", -1.0),
        ("sex", "m"),
        ("localization", "knee"),
        ("label", "naevus"),
        ("phash", "ff"),
        ("sha256", "x" * 64),
        ("width", 0),
        ("group", ""),
        ("path", np.nan),
        ("dx_type", ""),
    ],
)
def test_a_value_that_breaks_the_schema_is_named_with_its_row(column, value):
    manifest = skin(CLASSES, CLASSES)
    manifest.loc[5, column] = value
    with pytest.raises(InputError, match=rf"row 5 \(id ISIC_0000005\), column {column}: {value!r} fails") as error:
        clean(manifest, TASKS["skin"], Clean(unknown="drop"))
    assert "run ingest again" in str(error.value)
    assert str(error.value).count("\n") == 1  # that row and no other


def test_repeated_ids_missing_columns_and_wrong_types_are_named():
    manifest, settings = skin(CLASSES, CLASSES), Clean(unknown="drop")
    with pytest.raises(InputError, match=r"row 0 \(id ISIC_0000001\), column id"):
        clean(manifest.assign(id=["ISIC_0000001", *manifest["id"][1:]]), TASKS["skin"], settings)
    for column in manifest:
        with pytest.raises(InputError, match=f"column {column}: missing"):
            clean(manifest.drop(columns=column), TASKS["skin"], settings)
    with pytest.raises(InputError, match="column age: .*float64"):
        clean(manifest.assign(age="40"), TASKS["skin"], settings)
    with pytest.raises(InputError, match="column bytes: .*int64"):
        clean(manifest.assign(bytes=4.5), TASKS["skin"], settings)
    with pytest.raises(InputError, match="and 2 more"):
        clean(manifest.assign(sex="m"), TASKS["skin"], settings)


def test_a_brain_slice_needs_its_mask():
    with pytest.raises(InputError, match="column mask_path"):
        clean(brain(2, 3).assign(mask_path=""), TASKS["brain"], Clean(unknown=None))
