import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medpipe.cli import main
from medpipe.drift import logs, watch
from medpipe.service import log

NAMES = np.array(["mel", "nv", "vasc"])
SHARES = [0.2, 0.7, 0.1]
ROWS = 300


@pytest.fixture
def validation(tmp_path):
    """The prediction table of a model, of which 300 rows are validation's."""
    p = np.eye(3)[np.random.default_rng(0).choice(3, ROWS + 50, p=SHARES)]
    table = pd.DataFrame(p, columns=[f"p_{name}" for name in NAMES]).assign(set=["val"] * ROWS + ["test"] * 50)
    table = table.assign(id=[f"i{i}" for i in range(len(table))], ood=1 - np.arange(len(table)) % ROWS / (1 + ROWS))
    table["group"] = table["id"]
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
            kept.add(f"{i:05d}", rows, [embeddings[i], None], [None, None])
        kept.write()
        return str(kept.folder)

    return answer


def test_no_drift_gives_0_and_drift_3(validation, answer, tmp_path, capsys):
    page = tmp_path / "page.html"
    arguments = ["drift", answer(800), "--validation", str(validation), "--page", str(page)]
    assert main(arguments) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(": no drift in 800 cases")[0] for line in told] == [
        "skin, version 3: distance from what it was trained on", "skin, version 3: predicted classes",
        "skin, version 3: embedding, against the first 200 cases",
    ]  # fmt: skip
    assert "DRIFT" not in page.read_text()
    answer(300, farther=0.5)
    assert main(arguments) == 3
    far, classes, embedding = capsys.readouterr().out.splitlines()
    assert "DRIFT, certain at case 8" in far
    assert "no drift in 1100 cases" in classes
    assert "no drift in 1100 cases" in embedding
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
    assert "DRIFT, certain at case 9" in embedding


def test_the_log_holds_answers_and_no_image(answer, tmp_path):
    answer(3)
    [file] = (tmp_path / "log").iterdir()
    table = pd.read_parquet(file)
    assert list(table) == ["time", "request", "case", "row", "label", "ood", "model", "version", "sha256", "embedding"]
    expected = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(np.stack(table["embedding"]), expected)


def test_a_log_of_an_earlier_release_is_read_on(validation, answer, capsys):
    """Its rows have no embedding, so that the third test has no beginning."""
    [file] = Path(answer(30)).iterdir()
    pd.read_parquet(file).drop(columns="embedding").to_parquet(file)
    assert main(["drift", answer(30), "--validation", str(validation)]) == 0
    assert capsys.readouterr().out.count("no drift in 60 cases") == 2


def test_a_test_that_has_not_begun_says_so(validation, answer, capsys):
    assert main(["drift", answer(30), "--validation", str(validation)]) == 0
    assert "embedding, against the first 200 cases: not tested yet: 30 cases, and" in capsys.readouterr().out


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
    table = pd.DataFrame({"set": "val", "tp": 9 * found, "fp": 0, "fn": 1}).reset_index(names="id")
    table["group"] = table["id"]
    table.to_parquet(tmp_path / "predictions.parquet")
    kept = log.Log(tmp_path / "log")
    for share in (0.3, 0.9):
        for i, tumour in enumerate((rng.random(300) < share).tolist()):
            row = {"row": 0, "tumour": tumour, "share": 0.1 * tumour, "error": None, "mask": b"x"}
            kept.add(f"{i:05d}", [row | {"model": "brain", "version": None, "sha256": "ab" * 32}], [None], [None])
        kept.write()
        status = main(["drift", str(kept.folder), "--validation", str(tmp_path / "predictions.parquet")])
        [told] = capsys.readouterr().out.splitlines()
        assert told.startswith("brain (abababababab): predicted classes: ")
        assert status == (3 if share == 0.9 else 0)


# ---------------------------------------------------------------------------------------- cases of several answers
SLICES = 25


def patients(rng, count):
    """The distances (n,), labels (n,) and embeddings (n, 8) of 25 slices of each patient, which are all alike."""
    each = rng.random(count), NAMES[rng.choice(3, count, p=SHARES)], rng.normal(size=(count, 8))
    return tuple(np.repeat(values, SLICES, axis=0) for values in each)


def log_of(rng, count, named):
    """What a service logs of so many patients: a request a slice, or one a patient."""
    distance, label, embedding = patients(rng, count)
    number = np.arange(count * SLICES)
    times = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(number // SLICES * 120, "min")
    table = pd.DataFrame({"time": times, "request": (number // SLICES).astype(str), "row": number % SLICES})
    if named:
        table["time"] += pd.to_timedelta(number % SLICES, "s")
        table = table.assign(request=number.astype(str), row=0, case=table["request"])
    return table.assign(label=label, distance=distance, embedding=[*embedding.astype(np.float32)])


@pytest.mark.parametrize("named", [True, False])
def test_25_slices_a_patient_without_drift_alarm_no_more_often_than_promised(named):
    """Of 20 logs, each with validation patients of its own. Slices taken for cases alarm in all."""
    rng, alarms = np.random.default_rng(5), 0
    for number in range(20):
        known, labels, _ = patients(rng, 40)
        nearer = np.searchsorted(np.sort(known), known)
        table = pd.DataFrame({f"p_{name}": labels == name for name in NAMES}).assign(
            set="val", id=np.arange(len(known)).astype(str), group=np.arange(len(known)) // SLICES,
            ood=1 - nearer / (1 + len(known)),
        )  # fmt: skip
        answers = log_of(rng, 260, named)
        score = (1 + len(known) - np.searchsorted(np.sort(known), answers.pop("distance"))) / (1 + len(known))
        logged = logs._logged("brain", None, f"{number:064x}"[::-1], answers.assign(ood=score), table)
        assert (len(logged.predicted), logged.open, logged.validation.sum()) == (260 - named, named, 40)
        alarms += watch.watched(logged).drifted
    assert alarms <= 1


def test_a_longer_log_goes_on_from_a_shorter_one_though_cases_come_in_parts():
    answers = log_of(np.random.default_rng(0), 30, True)
    late = answers.iloc[[3]].assign(time=answers["time"].iloc[-1], request="late")  # of the first patient, days later
    mixed = pd.concat([answers, late, log_of(np.random.default_rng(1), 5, False)]).sort_values(
        "time", ignore_index=True
    )
    whole, _ = logs._cases(mixed)
    for n in (40, 400, 700):
        cases, _ = logs._cases(mixed[:n])
        pd.testing.assert_frame_equal(cases, whole[: len(cases)])
    assert "late" not in set(whole["request"])
    assert whole["case"].dropna().is_unique


def test_an_answer_counts_once_in_however_many_files_it_is(validation, answer, tmp_path, capsys):
    folder = Path(answer(300))
    arguments = ["drift", str(folder), "--validation", str(validation)]
    assert main(arguments) == 0
    once = capsys.readouterr().out
    [file] = folder.iterdir()
    shutil.copy(file, folder / "copy.parquet")
    file.rename(folder / f".{file.stem}.tmp.parquet")  # written, and killed before it had its name
    (folder / ".other.tmp.parquet").write_bytes(file.name.encode())  # killed in the middle
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert told.out == once
    assert "a file that was not finished is left out" in told.err
    assert ".other.tmp.parquet" in told.err
    (folder / "copy.parquet").unlink()
    assert main(arguments) == 0
    assert capsys.readouterr().out == once


def test_models_of_two_kinds_in_one_folder_are_read_apart(validation, answer, tmp_path, monkeypatch):
    kept = log.Log(tmp_path / "log")
    kept.add("r", [{"row": 0, "tumour": True, "error": None, "model": "brain", "version": "1", "sha256": "cd" * 32}],
             [None], ["patient"])  # fmt: skip
    kept.add("s", [{"row": 0, "tumour": False, "error": None, "model": "brain", "version": "1", "sha256": "cd" * 32}],
             [None], [None])  # fmt: skip
    kept.write()
    folder = Path(answer(30))
    masks = pd.DataFrame({"set": "val", "tp": [9, 0], "fp": 0, "fn": 1, "id": ["a", "b"], "group": ["a", "b"]})
    tables = {"brain": masks, "skin": pd.read_parquet(validation)}
    monkeypatch.setattr(logs, "_of_run", lambda model, version: tables[model])
    brain, found = logs.read(folder, None)
    assert (brain.names, brain.open) == (("no tumour", "tumour"), 1)
    assert found.names == tuple(NAMES)
