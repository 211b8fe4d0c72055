"""What was packaged by an earlier release is loaded by this one, and answers as it did."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from medpipe.service import served
from medpipe.service.answers import embeddings
from medpipe.service.rows import Rows

PACKAGES = Path(__file__).parent / "packages"


def test_this_release_has_its_packages():
    made = {path.name for path in (PACKAGES / version("medpipe")).iterdir()}
    assert made == {"image.zip", "image.json", "table-image.zip", "table-image.json"}


@pytest.mark.parametrize("file", sorted(PACKAGES.glob("*/*.zip")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_an_earlier_release_answers_as_it_did(file, tmp_path):
    shutil.unpack_archive(file, tmp_path)
    golden = json.loads(file.with_suffix(".json").read_text())
    answer = mlflow.pyfunc.load_model(str(tmp_path)).predict(pd.DataFrame(golden["cases"]))
    expected = pd.DataFrame(golden["answers"], dtype=object)
    pd.testing.assert_frame_equal(answer.astype(object), expected, rtol=0, atol=1e-5)
    assert expected["error"].notna().tolist() == [False] * 6 + [True]
    assert expected["label"].nunique() > 1  # or a mix-up would not show


def test_an_earlier_release_is_served_though_it_gives_no_embedding(tmp_path):
    shutil.unpack_archive(PACKAGES / "0.1.0/image.zip", tmp_path)
    golden = json.loads((PACKAGES / "0.1.0/image.json").read_text())
    answers = served.load(served.find(str(tmp_path))).predict(pd.DataFrame(golden["cases"]))
    pd.testing.assert_frame_equal(answers.astype(object), pd.DataFrame(golden["answers"], dtype=object), atol=1e-5)
    rows = Rows(tuple(golden["cases"]), (None,) * len(answers))
    assert embeddings(rows, answers) == [None] * len(answers)
