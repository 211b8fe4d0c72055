import csv
import os
import re
import shutil
import socket
import subprocess
import sys
import tracemalloc
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_service import PIXELS, VARIANT, picture

from medpipe.cli import main


@pytest.fixture
def folder(tmp_path):
    """Three images, one of them broken, and the table that names them."""
    images = tmp_path / "images"
    images.mkdir()
    for name, data in {"a.png": picture(9), "b.png": b"no image", "c.png": picture(200)}.items():
        (images / name).write_bytes(data)
    table = pd.DataFrame(
        {"image": ["a.png", "b.png", "c.png"], "age": ["45", "45", ""], "sex": ["male", "x", "female"]}
    )
    table.assign(note=["1", "2", "3"]).to_csv(images / "cases.csv", index=False)
    return images


def test_a_csv_gets_answers_and_errors_by_row(model, folder, tmp_path, capsys):
    out = tmp_path / "answers/answers.csv"
    assert main(["predict", str(model), str(folder / "cases.csv"), "--out", str(out)]) == 1
    found = pd.read_csv(out)
    columns = ["image", "age", "sex", "note", "mel", "nv", "label", "ood", "error", "model", "version", "sha256"]
    assert list(found) == columns
    assert found["note"].tolist() == [1, 2, 3]
    assert found["image"].tolist() == ["a.png", "b.png", "c.png"]
    assert found["label"].isna().tolist() == [False, True, False]
    assert found["error"][1].startswith("sex is 'x', must be unknown or one of: male, female; image: ")
    assert set(found["model"]) == {"skin-early"}
    assert found["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    assert f"{out}: 3 rows, 1 of them not answered, first b.png: sex is 'x', must be" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["answers.csv"]


def test_a_file_that_is_not_there_and_an_empty_cell_are_told_apart(model, folder, tmp_path):
    (folder / "cases.csv").write_text("image,age,sex\nnowhere.png,45,male\n ,45,male\n")
    assert main(["predict", str(model), str(folder / "cases.csv"), "--out", str(tmp_path / "o.csv")]) == 1
    lost, empty = pd.read_csv(tmp_path / "o.csv")["error"]
    assert lost.startswith(f"image: '{folder}/nowhere.png' is not there; ")
    assert empty.startswith("image is missing; ")


def test_parquet_has_the_same_and_a_sound_table_gives_0(model, folder, tmp_path):
    sound = pd.read_csv(folder / "cases.csv", dtype=str)[::2]
    sound.to_csv(folder / "sound.csv", index=False)
    for suffix in ("csv", "parquet"):
        assert main(["predict", str(model), str(folder / "sound.csv"), "--out", str(tmp_path / f"o.{suffix}")]) == 0
    written = pd.read_parquet(tmp_path / "o.parquet")
    read = pd.read_csv(tmp_path / "o.csv")
    np.testing.assert_allclose(written[["mel", "nv", "ood"]], read[["mel", "nv", "ood"]])
    assert written["error"].isna().all()


def test_a_column_that_is_named_as_an_answer_is_passed_over(model, folder, tmp_path, capsys):
    """As the labels of cases whose diagnosis is known."""
    sound = pd.read_csv(folder / "cases.csv", dtype=str)[::2]
    for name, cases in (("without", sound), ("with", sound.assign(label="nv", mel="1"))):
        cases.to_csv(folder / f"{name}.csv", index=False)
        assert main(["predict", str(model), str(folder / f"{name}.csv"), "--out", str(tmp_path / f"{name}.csv")]) == 0
    assert "columns mel, label: left out of " in capsys.readouterr().out
    assert (tmp_path / "with.csv").read_text() == (tmp_path / "without.csv").read_text()


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["nowhere"], "o.csv", "nowhere: not there"),
        (["images"], "o.xlsx", "o.xlsx: a table that ends in .csv or .parquet wanted"),
        (["images"], "o.csv", "columns missing: age, sex; the model reads image, age, sex: give a CSV"),
        (["empty"], "o.csv", "empty: no file in it"),
        (["empty.csv"], "o.csv", "empty.csv: no CSV"),
        (["latin.csv"], "o.csv", "latin.csv: no CSV in UTF-8"),
    ],
)
def test_what_cannot_be_done_says_why_and_gives_2(model, folder, tmp_path, monkeypatch, capsys, inputs, out, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "latin.csv").write_bytes(b"image\n\xe9\n")
    assert main(["predict", str(model), *inputs, "--out", out]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / out).exists()


def test_a_package_is_looked_at_before_its_code_runs(model, folder, tmp_path):
    package = tmp_path / "package"
    shutil.copytree(model, package, ignore=shutil.ignore_patterns("__pycache__"))
    source = next(package.rglob("predictor.py"))
    source.write_text(source.read_text() + "\nprint('it ran')\n")
    command = [sys.executable, "-m", "medpipe.cli", "predict", str(package), str(folder / "a.png"), "--out", "o.csv"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert re.search(r"not the model that was packaged: code/\w+/serving/predictor.py was changed", ended.stderr)
    assert "it ran" not in ended.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("skin-classifier@champion", "no such folder; a registered model is models:/NAME@ALIAS"),
        ("models:/m@champion", "MLFLOW_TRACKING_URI: the installed MLflow opens no gopher: store; give a server's"),
    ],
)
def test_a_model_that_cannot_be_had_gives_2(folder, tmp_path, name, message):
    command = [sys.executable, "-m", "medpipe.cli", "predict", name, str(folder / "a.png"), "--out", "o.csv"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": "gopher://me:secret@store"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "secret" not in ended.stderr


def test_a_port_that_is_taken_gives_2(model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "medpipe.cli", "serve", str(model), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert f"medpipe: 127.0.0.1:{port}: cannot listen" in ended.stderr
    assert "answers on" not in ended.stderr


def test_bad_usage_gives_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "m"])
    assert stopped.value.code == 2


@pytest.fixture
def outliner(deliver, tmp_path):
    """A packaged segmenter."""
    import keras
    from keras import layers

    from medpipe.serving import package

    inputs = keras.Input((96, 96, 3))
    net = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Rescaling(1 / 127.5, -1)(inputs)))
    variant = VARIANT | {"task": "brain", "sizes": (96,)}
    about = {"classes": ("healthy", "tumour"), "variants": (variant,), "features": ((),)}
    delivered = deliver(tmp_path / "brain-resunet", net, task="brain", kind="segmenter", **about)
    package.save(delivered, tmp_path / "packed", PIXELS, {"flips": [], "temperature": None, "rule": None})
    return tmp_path / "packed"


def test_a_folder_of_images_gives_masks(outliner, tmp_path, folder, capsys):
    (folder / "cases.csv").unlink()
    (folder / ".hidden").touch()
    masks, out = tmp_path / "masks", tmp_path / "o.csv"
    assert main(["predict", str(outliner), str(folder), "--out", str(out), "--masks", str(masks)]) == 1
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"].rpartition("/")[2] for row in rows] == ["a.png", "b.png", "c.png"]
    assert [row["mask"] for row in rows] == ["0.png", "", "2.png"]
    assert Image.open(BytesIO((masks / "2.png").read_bytes())).size == (20, 16)
    capsys.readouterr()
    assert main(["predict", str(outliner), str(folder / "a.png"), "--out", str(out)]) == 0
    assert "masks: left out; --masks FOLDER writes them" in capsys.readouterr().out


def test_masks_of_many_images_are_not_kept_until_the_last(outliner, tmp_path):
    """Each is of noise, which a PNG cannot make small."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    held, written = [], 0
    for rows in (40, 400):
        pd.DataFrame({"image": ["noise.png"] * rows}).to_csv(tmp_path / "cases.csv", index=False)
        tracemalloc.start()
        arguments = ["--out", str(tmp_path / "o.csv"), "--masks", str(tmp_path / "masks")]
        assert main(["predict", str(outliner), str(tmp_path / "cases.csv"), *arguments]) == 0
        held.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        written = sum(path.stat().st_size for path in (tmp_path / "masks").iterdir())
    assert held[1] - held[0] < written / 2, (held, written)


def test_a_consumer_imports_no_backend():
    program = "import sys, mlflow.pyfunc, medpipe.cli, medpipe.service.run, medpipe.service.files, medpipe.drift.page; "
    program += (
        "import medpipe.drift.watch; print(sorted({'keras', 'tensorflow', 'jax', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
