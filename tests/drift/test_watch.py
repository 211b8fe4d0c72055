from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medpipe.cli import main
from medpipe.service import log

NAMES = np.array(["mel", "nv", "vasc"])
SHARES = [0.2, 0.7, 0.1]
ROWS = 300


@pytest.fixture
def validation(tmp_path):
    """The prediction table of a model, of which 300 rows are validation's."""
    p = np.eye(3)[np.random.default_rng(0).choice(3, ROWS + 50, p=SHARES)]
    table = pd.DataFrame(p, columns=[f"p_{name}" for name in NAMES]).assign(set=["val"] * ROWS + ["test"] * 50)
    table.to_parquet(tmp_path / "predictions.parquet")
    return tmp_path / "predictions.parquet"


@pytest.fixture
def answer(tmp_path):
    """A function that logs n answers, as a service does, and returns the log's folder."""
    rng, known = np.random.default_rng(1), np.sort(np.random.default_rng(2).random(ROWS))
    embed = np.random.default_rng(3)
    kept = log.Log(tmp_path / "log")

    def answer(n, farther=0.0, shares=SHARES, version="3", mirrored=False):
        distance = rng.random(n) + farther
        score = (1 + ROWS - np.searchsorted(known, distance)) / (1 + ROWS)
        embeddings = embed.normal(size=(n, 4)).astype(np.float32)
        if mirrored:  # as far from anything before as ever
            embeddings[:, 0] = np.abs(embeddings[:, 0])
        for i, label in enumerate(NAMES[rng.choice(3, n, p=shares)]):
            row = {"row": 0, "label": label, "ood": score[i], "error": None, "mask": b"x"}
            rows = [row | {"model": "skin", "version": version, "sha256": "ab" * 32}, {"error": "wrong"}]
            kept.add(f"{i:05d}", rows, [embeddings[i], None])
        kept.write()
        return str(kept.folder)

    return answer


def test_no_drift_gives_0_and_drift_3(validation, answer, tmp_path, capsys):
    page = tmp_path / "page.html"
    arguments = ["drift", answer(800), "--validation", str(validation), "--page", str(page)]
    assert main(arguments) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(": no drift in 800 answers")[0] for line in told] == [
        "skin, version 3: distance from what it was trained on", "skin, version 3: predicted classes",
        "skin, version 3: embedding, against the first 200 answers",
    ]  # fmt: skip
    assert "DRIFT" not in page.read_text()
    answer(300, farther=0.5)
    assert main(arguments) == 3
    far, classes, embedding = capsys.readouterr().out.splitlines()
    assert "DRIFT, certain at answer 8" in far
    assert "no drift in 1100 answers" in classes
    assert "no drift in 1100 answers" in embedding
    assert "DRIFT" in page.read_text()
    assert "http" not in page.read_text()  # nothing is loaded


def test_another_prevalence_is_found_by_the_predicted_classes(validation, answer, capsys):
    folder = answer(800, shares=[0.5, 0.4, 0.1])
    assert main(["drift", folder, "--validation", str(validation)]) == 3
    far, classes, embedding = capsys.readouterr().out.splitlines()
    assert "no drift" in far
    assert "DRIFT" in classes
    assert "no drift" in embedding


def test_another_direction_at_the_same_distance_is_found_by_the_embedding(validation, answer, capsys):
    answer(800)
    folder = answer(300, mirrored=True)
    assert main(["drift", folder, "--validation", str(validation)]) == 3
    far, classes, embedding = capsys.readouterr().out.splitlines()
    assert "no drift" in far
    assert "no drift" in classes
    assert "DRIFT, certain at answer 9" in embedding


def test_the_log_holds_answers_and_no_image(answer, tmp_path):
    answer(3)
    [file] = (tmp_path / "log").iterdir()
    table = pd.read_parquet(file)
    assert list(table) == ["time", "request", "row", "label", "ood", "model", "version", "sha256", "embedding"]
    expected = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(np.stack(table["embedding"]), expected)


def test_a_log_of_an_earlier_release_is_read_on(validation, answer, capsys):
    """Its rows have no embedding, so that the third test has no beginning."""
    [file] = Path(answer(30)).iterdir()
    pd.read_parquet(file).drop(columns="embedding").to_parquet(file)
    assert main(["drift", answer(30), "--validation", str(validation)]) == 0
    assert capsys.readouterr().out.count("no drift in 60 answers") == 2


def test_a_test_that_has_not_begun_says_so(validation, answer, capsys):
    assert main(["drift", answer(30), "--validation", str(validation)]) == 0
    assert "embedding, against the first 200 answers: not tested yet: 30 answers, and" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: [path.unlink() for path in folder.iterdir()], "no log in it; `medpipe serve --log"),
        (lambda folder: (folder / "x.parquet").write_bytes(b"PAR1"), "x.parquet: no Parquet file that can be read"),
        (lambda folder: pd.DataFrame({"a": [1]}).to_parquet(next(folder.iterdir())), "columns missing: time, request"),
    ],
)
def test_a_log_that_is_none_says_so_and_gives_2(validation, answer, tmp_path, capsys, damage, message):
    answer(3)
    damage(tmp_path / "log")
    assert main(["drift", str(tmp_path / "log"), "--validation", str(validation)]) == 2
    assert message in capsys.readouterr().err


def test_each_version_is_held_against_its_own_validation(validation, answer, capsys):
    answer(3)
    folder = answer(3, version="4")
    assert main(["drift", folder, "--validation", str(validation)]) == 2
    assert "answers of 2 versions; one prediction table cannot be all of theirs" in capsys.readouterr().err


def test_another_models_table_is_refused(validation, answer, capsys):
    pd.read_parquet(validation).rename(columns={"p_mel": "p_covid"}).to_parquet(validation)
    assert main(["drift", answer(30), "--validation", str(validation)]) == 2
    assert "of different models" in capsys.readouterr().err


def test_a_segmenter_is_watched_by_whether_it_outlines_any(tmp_path, capsys):
    rng = np.random.default_rng(0)
    found = rng.random(ROWS) < 0.3
    table = pd.DataFrame({"set": "val", "tp": 9 * found, "fp": 0, "fn": 1})
    table.to_parquet(tmp_path / "predictions.parquet")
    kept = log.Log(tmp_path / "log")
    for share in (0.3, 0.9):
        for i, tumour in enumerate((rng.random(300) < share).tolist()):
            row = {"row": 0, "tumour": tumour, "share": 0.1 * tumour, "error": None, "mask": b"x"}
            kept.add(f"{i:05d}", [row | {"model": "brain", "version": None, "sha256": "ab" * 32}], [None])
        kept.write()
        status = main(["drift", str(kept.folder), "--validation", str(tmp_path / "predictions.parquet")])
        [told] = capsys.readouterr().out.splitlines()
        assert told.startswith("brain (abababababab): predicted classes: ")
        assert status == (3 if share == 0.9 else 0)
