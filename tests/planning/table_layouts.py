"""Small drawn archives with the tables of public data sets: {name: bytes of a file}."""

import numpy as np
import pandas as pd
from layouts import Drawing

RANDOM = np.random.default_rng(0)


def pictures(names):
    draw = Drawing()
    return {name: draw.image() for name in names}


def table(name, **columns):
    return {name: pd.DataFrame(columns).to_csv(index=False).encode()}


def chest_findings():
    """As NIH ChestX-ray14: several findings a cell, beside them what is of the patient."""
    names = [f"{i // 3:08d}_{i % 3:03d}.png" for i in range(90)]
    findings = ["No Finding", "Effusion", "Mass", "Effusion|Mass", "Mass|Nodule"]
    columns = {
        "Image Index": names, "Finding Labels": [findings[i % 5] for i in range(90)],
        "Follow-up #": [i % 3 for i in range(90)], "Patient ID": [i // 3 for i in range(90)],
        "Patient Gender": ["F", "M"] * 45, "View Position": ["PA", "AP", "AP"] * 30,
    }  # fmt: skip
    return pictures(f"images/{name}" for name in names) | table("labels.csv", **columns)


def eyes():
    """As ODIR: a column of 0 and 1 for each finding, of which a row may have several."""
    names = [f"{i // 2}_{side}.jpg" for i in range(60) for side in ("left", "right")[i % 2 : i % 2 + 1]]
    flags = {name: RANDOM.integers(0, 2, 60) for name in "DGC"}
    sexes = ["Male", "Female"] * 30
    return pictures(f"images/{name}" for name in names) | table("eyes.csv", file=names, sex=sexes, **flags)


def bone_age():
    ids = range(1377, 1437)
    rows = {"id": [*ids], "boneage": [20 + 3 * (i % 50) for i in ids], "male": [i % 2 == 0 for i in ids]}
    return pictures(f"hands/{i}.png" for i in ids) | table("train.csv", **rows)


def retinopathy():
    """As APTOS: a test table without labels, which names images too."""
    train, test = ([f"{i:012x}" for i in range(first, first + 60)] for first in (1000, 5000))
    files = pictures([*(f"train_images/{name}.png" for name in train), *(f"test_images/{name}.png" for name in test)])
    files |= table("a_test.csv", id_code=test) | table("sample_submission.csv", id_code=test, diagnosis=[0] * 60)
    return files | table("train.csv", id_code=train, diagnosis=[i % 5 for i in range(60)])


def two_photographs():
    """As derm7pt: two photographs a row, and a case number that hardly any row has."""
    names = {kind: [f"A{i % 4}/{kind}{i:03d}.jpg" for i in range(60)] for kind in ("clinic", "derm")}
    files = pictures([*names["clinic"], *names["derm"]])
    case = ["x1" if i == 5 else "" for i in range(60)]
    return files | table("meta.csv", diagnosis=["nevus", "melanoma", "bcc"] * 20, case_id=case, **names)


def masks_in_a_column():
    draw = Drawing()
    files = pictures(f"scans/{i}.png" for i in range(40))
    files |= {f"outlines/o{i}.png": draw.mask(empty=i % 2 == 0) for i in range(40)}
    rows = {"scan": [f"{i}.png" for i in range(40)], "outline": [f"o{i}.png" for i in range(40)]}
    return files | table("scans.csv", **rows)


def names_below_a_folder():
    names = [f"X{i % 3}/n{i:03d}.jpg" for i in range(60)]
    return pictures(f"images/{name}" for name in names) | table("meta/meta.csv", diagnosis=["a", "b"] * 30, file=names)


def ages_that_name_images():
    names = [f"{i}.jpg" for i in range(60)]
    ages = [10 + (7 * i) % 50 for i in range(60)]
    return pictures(f"images/{name}" for name in names) | table(
        "t.csv", age=ages, filename=names, label=["a", "b"] * 30
    )


def parts():
    """As PAD-UFES: images in numbered parts, a label that is called diagnostic, patients and lesions."""
    names = [f"PAT_{i // 2}_{i}.png" for i in range(60)]
    files = pictures(f"imgs_part_{1 + i % 3}/{name}" for i, name in enumerate(names))
    rows = {"patient_id": [i // 2 for i in range(60)], "lesion_id": range(60), "smoke": [True, False] * 30}
    return files | table("metadata.csv", **rows, diagnostic=["ACK", "BCC", "MEL"] * 20, img_id=names)


def two_labels():
    names = [f"n{i}.png" for i in range(60)]
    rows = {"diagnosis": ["nevus", "melanoma", "bcc"] * 20, "grade": ["low", "high"] * 30}
    return pictures(names) | table("t.csv", file=names, **rows)


def boxes():
    names = [f"n{i // 3}.png" for i in range(90)]
    return pictures(sorted({*names})) | table("boxes.csv", file=names, xmin=range(90), ymin=range(90), label=["a"] * 90)


def yolo():
    files = pictures(f"{part}/images/{i}.jpg" for part in ("train", "valid") for i in range(10))
    return files | {name.replace("images", "labels").replace("jpg", "txt"): b"1 0.5 0.5 0.2 0.2\n" for name in files}


def coco():
    return pictures(f"images/{i}.jpg" for i in range(10)) | {
        "instances.json": b'{"annotations": [{"bbox": [3, 3, 9, 9]}]}'
    }
