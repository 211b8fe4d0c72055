"""Tables that name images: what the reader makes of them, and what it refuses."""

from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from medpipe.errors import InputError

TABLE = {
    "kind": "table", "file": "list.csv", "images": "", "image": "file", "mask": None, "label": "label", "codes": {},
    "source": None, "set": None, "columns": {}, "group": None,
}  # fmt: skip
ROWS = pd.DataFrame(
    {
        "file": ["a", "b.png", "sub\\Ö 1.PNG", "d"],
        "label": ["benign", "Malignant", "malignant ", "benign"],
        "patient": ["P1", "P2", " p2", "P 3"],
        "age": ["40", "51.5", "", "7"],
        "sex": ["f", "M", "m", "unknown"],
    }
)
FILES = ("a.png", "b.png", "sub/Ö 1.png", "d.jpg")
FEATURES = {"age": {"range": [0, 120], "bands": [0, 50]}, "sex": {"values": ["f", "m"]}}
DECLARED = {"features": FEATURES, "subgroups": ("sex", "age_band")}
GROUPED = TABLE | {"group": {"column": "patient"}}


def check_rows(manifest, reasons):
    assert not reasons
    assert manifest["label"].to_dict() == {"a": "benign", "b": "malignant", "sub\\Ö 1": "malignant", "d": "benign"}
    assert manifest["group"].to_dict() == {"a": "P1", "b": "P2", "sub\\Ö 1": "P2", "d": "P 3"}
    assert manifest.loc["b", "age"] == 51.5
    assert np.isnan(manifest.loc["sub\\Ö 1", "age"])
    assert sorted(manifest["sex"].str.casefold()) == ["f", "m", "m", "unknown"]


def header_again(rows):
    return pd.concat([rows[:2], pd.DataFrame([rows.columns], columns=rows.columns), rows[2:]])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("list.csv", lambda rows: rows.to_csv(index=False)),
        ("list.csv", lambda rows: rows.to_csv(index=True)),  # with an index column
        ("list.csv", lambda rows: rows.to_csv(index=False, encoding="utf-8-sig").encode("utf-8-sig")),
        ("list.csv", lambda rows: rows.to_csv(index=False).encode("latin-1")),
        ("list.csv", lambda rows: rows.replace("51.5", "51,5").to_csv(index=False, sep=";")),
        ("list.tsv", lambda rows: rows.to_csv(index=False, sep="\t")),
        ("list.csv", lambda rows: header_again(rows).to_csv(index=False)),
    ],
    ids=["plain", "index", "bom", "latin", "semicolons", "tabs", "header again"],
)  # fmt: skip
def test_a_table_whoever_wrote_it(ingest, pictures, name, write):
    declared = DECLARED | {"features": FEATURES | {"sex": {"values": ["f", "M"]}}}
    manifest, reasons, _ = ingest(pictures(*FILES) | {name: write(ROWS)}, GROUPED | {"file": name}, **declared)
    check_rows(manifest, reasons)


def test_excel_and_parquet(ingest, pictures):
    declared = DECLARED | {"features": FEATURES | {"sex": {"values": ["f", "M"]}}}
    typed = ROWS.assign(age=pd.to_numeric(ROWS["age"]))
    for name in ("list.xlsx", "list.parquet"):
        buffer = BytesIO()
        typed.to_excel(buffer, index=False) if name.endswith("xlsx") else typed.to_parquet(buffer)
        manifest, reasons, _ = ingest(
            pictures(*FILES) | {name: buffer.getvalue()}, GROUPED | {"file": name}, **declared
        )
        check_rows(manifest, reasons)


def test_values_that_cannot_be_read_are_named_by_row_and_column(ingest, pictures):
    rows = ROWS.assign(age=["45 years", "2021-03-04", "-1", "8"], sex=["f", "f", "f", "m"])
    _, reasons, _ = ingest(pictures(*FILES) | {"list.csv": rows.to_csv(index=False)}, GROUPED, **DECLARED)
    assert reasons == {
        "a": "age: '45 years'", "b": "age: '2021-03-04'", "sub\\Ö 1": "age: '-1'",
    }  # fmt: skip


def test_rows_and_images_without_each_other_and_names_of_several_files(ingest, pictures):
    rows = pd.DataFrame({"file": ["a", "x", "same", "c"], "label": ["benign", "benign", "malignant", "malignant"]})
    files = pictures("a.png", "1/same.png", "2/same.png", "c.png", "left.png")
    manifest, reasons, _ = ingest(files | {"list.csv": rows.to_csv(index=False)}, TABLE)
    assert sorted(manifest.index) == ["a", "c"]
    assert reasons["x"] == "row without image: 'x'"
    assert reasons["same"] == "several files of one name: 'same' may be 1/same.png or 2/same.png"
    assert reasons["left"] == "image without row"


def test_labels_at_odds_with_the_folder(ingest, pictures):
    rows = pd.DataFrame({"file": ["a", "b", "c"], "label": ["malignant", "malignant", "benign"]})
    files = pictures("benign/a.png", "malignant/b.png", "benign/c.png")
    _, reasons, _ = ingest(files | {"list.csv": rows.to_csv(index=False)}, TABLE)
    assert reasons == {"a": "two labels: malignant in the table, in the folder benign"}


def test_a_table_beside_folders_of_classes(ingest, pictures):
    rows = pd.DataFrame({"file": ["a", "b", "c", "d"], "age": [1, 2, 3, 4]})
    files = pictures("Benign/a.png", "malignant/b.png", "c.png", "benign/malignant/d.png")
    declared = {"features": {"age": {"range": [0, 9], "bands": []}}}
    manifest, reasons, _ = ingest(files | {"list.csv": rows.to_csv(index=False)}, TABLE | {"label": None}, **declared)
    assert manifest["label"].to_dict() == {"a": "benign", "b": "malignant"}
    assert manifest["age"].tolist() == [1, 2]
    assert reasons == {"c": "unknown class: ''", "d": "unknown class: ''"}


def test_one_hot_and_coded_labels(ingest, pictures):
    rows = pd.DataFrame({"file": list("abcd"), "B": [1, 0, 1, 0], "M": [0, 1, 1, 0], "y": ["0", "1", "0", "7"]})
    files = pictures(*(f"{name}.png" for name in "abcd")) | {"list.csv": rows.to_csv(index=False)}
    hot = TABLE | {"label": {"benign": "B", "malignant": "M"}}
    manifest, reasons, _ = ingest(files, hot)
    assert manifest["label"].to_dict() == {"a": "benign", "b": "malignant"}
    assert reasons == dict.fromkeys("cd", "one-hot row: exactly one 1 among the classes wanted")
    manifest, reasons, _ = ingest(files, TABLE | {"label": "y", "codes": {"0": "benign", "1": "malignant"}})
    assert manifest["label"].to_dict() == {"a": "benign", "b": "malignant", "c": "benign"}
    assert reasons == {"d": "unknown class: '7'"}


def test_a_missing_column_or_table_is_named(ingest, pictures):
    with pytest.raises(InputError, match=r"list\.csv: lacks the column label; it has file, y"):
        ingest(pictures("a.png") | {"list.csv": "file,y\na,1\n"}, TABLE)
    with pytest.raises(InputError, match=r"has no 'list\.csv', which reader\.file names"):
        ingest(pictures("a.png"), TABLE)


def test_an_isic_export(ingest, pictures):
    listed = pd.DataFrame(
        {
            "isic_id": ["ISIC_1", "ISIC_2", "ISIC_3"], "attribution": ["A", "A", "B"], "age_approx": [40, None, 60],
            "anatom_site_general": ["head/neck", "", "lower extremity"], "sex": ["male", "female", ""],
            "diagnosis_1": ["Benign", "Malignant", "Indeterminate"], "patient_id": ["IP_1", "IP_1", ""],
        }
    )  # fmt: skip
    reader = {"kind": "isic", "label": "diagnosis_1", "codes": {}}
    declared = {
        "features": {
            "age": {"range": [0, 120], "bands": []}, "sex": {"values": ["female", "male"]},
            "localization": {"values": ["head/neck", "lower extremity"]},
        },
        "subgroups": ("sex", "source"),
    }  # fmt: skip
    files = pictures("ISIC_1.jpg", "ISIC_2.jpg", "ISIC_3.jpg") | {"metadata.csv": listed.to_csv(index=False)}
    manifest, reasons, notes = ingest(files, reader, **declared)
    assert manifest["label"].to_dict() == {"ISIC_1": "benign", "ISIC_2": "malignant"}
    assert manifest["group"].nunique() == 1
    assert manifest["source"].tolist() == ["A", "A"]
    assert reasons == {"ISIC_3": "unknown class: 'Indeterminate'"}
    assert "1 images have no patient_id: each is a group of its own" in notes
