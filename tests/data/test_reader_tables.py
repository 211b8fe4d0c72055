"""Tables that name images: what the reader makes of them, and what it refuses."""

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from declared import own_task

from medpipe.data.split import split
from medpipe.errors import InputError
from medpipe.params import Split

TABLE = {
    "kind": "table", "file": "list.csv", "images": "", "image": "file", "mask": None, "label": "label", "codes": {},
    "source": None, "set": None, "columns": {}, "group": None, "ungrouped": "refuse",
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
BY_GROUP = Split(seed=1, by="group", train=0.6, val=0.2, test=0.2, near=4)
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
    reader = {"kind": "isic", "label": "diagnosis_1", "codes": {}, "ungrouped": "alone"}
    declared = {
        "features": {
            "age": {"range": [0, 120], "bands": []}, "sex": {"values": ["female", "male"]},
            "localization": {"values": ["head/neck", "lower extremity"]},
        },
        "subgroups": ("sex", "source"),
    }  # fmt: skip
    files = pictures("ISIC_1.jpg", "ISIC_2.jpg", "ISIC_3.jpg") | {"metadata.csv": listed.to_csv(index=False)}
    manifest, reasons, _ = ingest(files, reader, **declared)
    assert manifest["label"].to_dict() == {"ISIC_1": "benign", "ISIC_2": "malignant"}
    assert manifest["group"].nunique() == 1
    assert manifest["source"].tolist() == ["A", "A"]
    assert reasons == {"ISIC_3": "unknown class: 'Indeterminate'"}


def exported(patients, lesions):
    """An ISIC export of as many images as there are patients and lesions, '' where one is unknown."""
    names = [f"ISIC_{i:03d}" for i in range(len(patients))]
    labels = [("Benign", "Malignant")[i % 2] for i in range(len(names))]
    listed = pd.DataFrame({"isic_id": names, "diagnosis_1": labels, "patient_id": patients, "lesion_id": lesions})
    return [f"{name}.jpg" for name in names], {"metadata.csv": listed.to_csv(index=False)}


ISIC = {"kind": "isic", "label": "diagnosis_1", "codes": {}, "ungrouped": "refuse"}


def test_images_of_one_lesion_or_one_patient_are_tied_over_any_number_of_steps(ingest, pictures):
    # Image 0 has its patient alone, 1 its patient and lesion, 2 its lesion alone; 3 and 4 share a lesion, 5 has one
    # whose name is a patient's.
    names, table = exported(["IP_1", "IP_1", "", "", "", ""], ["", "IL_1", "IL_1", "IL_2", "IL_2", "IP_1"])
    manifest, reasons, _ = ingest(pictures(*names) | table, ISIC)
    assert not reasons
    assert manifest["group"].tolist() == ["IP_1"] * 3 + ["lesion_id IL_2"] * 2 + ["lesion_id IP_1"]


def test_an_export_that_names_one_part_by_patient_and_the_other_by_lesion_splits_no_lesion(ingest, pictures):
    patients = [f"IP_{i // 3}" for i in range(30)] + [""] * 60
    lesions = [""] * 30 + [f"IL_{i // 3}" for i in range(60)]
    names, table = exported(patients, lesions)
    manifest, _, _ = ingest(pictures(*names) | table, ISIC)
    rows, _, report = split(manifest.reset_index(), own_task("/", ISIC), BY_GROUP)
    assert report["grouping"] == ""
    assert rows["set"].groupby([a or b for a, b in zip(patients, lesions, strict=True)]).nunique().max() == 1


def test_what_has_neither_patient_nor_lesion_is_refused_or_said(ingest, pictures):
    names, table = exported(["IP_1", "IP_1", "IP_2", ""], [""] * 4)
    manifest, reasons, _ = ingest(pictures(*names) | table, ISIC)
    assert [*reasons] == ["ISIC_003"]
    assert reasons["ISIC_003"].startswith("no group: nothing names its patient or lesion")
    assert manifest["grouped"].all()
    manifest, reasons, notes = ingest(pictures(*names) | table, ISIC | {"ungrouped": "alone"})
    assert not reasons
    assert manifest["grouped"].tolist() == [True, True, True, False]
    assert manifest["group"].tolist() == ["IP_1", "IP_1", "IP_2", "ISIC_003"]
    assert "1 of 4 images have no group, such as ISIC_003: each is one of its own" in notes


def test_a_table_ties_the_rows_that_share_any_of_its_keys(ingest, pictures):
    rows = ROWS.assign(patient=["P1", "", "P2", "P3"], lesion=["L1", "l1 ", "L2", ""])
    reader = TABLE | {"group": {"column": ["patient", "lesion"]}}
    manifest, _, _ = ingest(pictures(*FILES) | {"list.csv": rows.to_csv(index=False)}, reader)
    assert manifest["group"].to_dict() == {"a": "P1", "b": "P1", "sub\\Ö 1": "P2", "d": "P3"}


def test_an_external_source_of_which_no_row_is_would_train(ingest, pictures):
    rows = ROWS.assign(hospital=["north", "North ", "south", "south"])
    files, reader = pictures(*FILES) | {"list.csv": rows.to_csv(index=False)}, GROUPED | {"source": "hospital"}
    with pytest.raises(InputError, match=r"no row is of the source 'South', .* there are: 'north', 'south'$"):
        ingest(files, reader, external="South")
    with pytest.raises(InputError, match=r"no row is of the source 'south', .* there are: 'unknown'$"):
        ingest(files, GROUPED, external="south")
    manifest, _, _ = ingest(files, reader, external="north")
    assert manifest["source"].tolist() == ["north", "north", "south", "south"]


TREATED = {"features": {"therapy": {"values": ["none", "NA", "laser"]}}, "subgroups": ("therapy", "remark")}


@pytest.mark.parametrize("name", ["list.csv", "list.xlsx", "list.parquet"])
def test_a_class_or_category_that_is_called_as_unknown_ones_are_is_what_was_declared(ingest, pictures, name):
    """Half of the labels say unknown, as ISIC 2020's do, and most patients had no therapy."""
    rows = pd.DataFrame(
        {
            "file": list("abcdef"), "label": ["unknown", "unknown", "Unknown", "benign", "NA", None],
            "therapy": ["none", "None", "NA", "laser", "n/a", None], "remark": ["none", "NA", "-", "x", None, "x"],
        }
    )  # fmt: skip
    buffer = BytesIO()
    {"csv": rows.to_csv, "xlsx": rows.to_excel, "parquet": rows.to_parquet}[name[5:]](buffer, index=False)
    files = pictures(*(f"{i}.png" for i in rows["file"])) | {name: buffer.getvalue()}
    manifest, reasons, _ = ingest(files, TABLE | {"file": name}, classes=("benign", "unknown", "NA"), **TREATED)
    assert manifest["label"].to_dict() == dict(zip("abcde", ["unknown"] * 3 + ["benign", "NA"], strict=True))
    assert manifest["therapy"].tolist() == ["none", "none", "NA", "laser", "unknown"]
    assert manifest["remark"].tolist() == ["none", "NA", "-", "x", "unknown"]  # of which no values are declared
    assert reasons == {"f": "unknown class: ''"}


def test_a_category_is_read_in_whatever_case_it_is_written(ingest, pictures):
    rows = pd.DataFrame({"file": list("abc"), "label": ["benign"] * 3, "sex": ["Male", "MALE", "female"]})
    files = pictures("a.png", "b.png", "c.png") | {"list.csv": rows.to_csv(index=False)}
    manifest, reasons, _ = ingest(files, TABLE, features={"sex": {"values": ["Female", "male"]}})
    assert manifest["sex"].tolist() == ["male", "male", "Female"]
    assert not reasons


def test_long_numbers_keep_their_digits_beside_a_missing_one(ingest, pictures):
    """As floats both patients would be 90071992547409920. Parquet's cells may be lists."""
    patients = pd.array([90071992547409921, 90071992547409919, None], "Int64")
    boxes = [[1, 2], [], None]
    rows = pd.DataFrame({"file": list("abc"), "label": "benign", "patient": patients, "boxes": boxes})
    rows.to_parquet(buffer := BytesIO())
    files = pictures("a.png", "b.png", "c.png") | {"list.parquet": buffer.getvalue()}
    manifest, _, _ = ingest(files, GROUPED | {"file": "list.parquet", "ungrouped": "alone"})
    assert manifest["group"].tolist() == ["90071992547409921", "90071992547409919", "c"]


def test_a_source_that_is_not_known_is_called_so(ingest, pictures):
    rows = pd.DataFrame({"file": list("ab"), "label": ["benign", "malignant"], "site": ["Basel", ""]})
    files = pictures("a.png", "b.png") | {"list.csv": rows.to_csv(index=False)}
    manifest, _, _ = ingest(files, TABLE | {"source": "site"})
    assert manifest["source"].tolist() == ["Basel", "unknown"]
