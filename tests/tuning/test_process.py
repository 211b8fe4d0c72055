"""The process that trains the trials, on a chest task of 48 small images."""

import json
import os
import signal
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from declared import TASKS

from medpipe import backend, gpus, recipe
from medpipe.overrides import change
from medpipe.params import checked, read
from medpipe.training.assemble import assemble
from medpipe.training.fit import fit
from medpipe.tuning.process import Trainer, TrialError
from medpipe.tuning.space import kept

NAME, ROWS = "chest-convnet", 48
SMALL = {"network.filters": [4, 8], "network.units": 8, "epochs": 2, "early_stopping": None}
VALUES = change(read(Path(__file__).parents[2]), NAME, SMALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with what prepare and split leave there."""
    root = tmp_path_factory.mktemp("project")
    split, prepared = root / "data/split/chest", root / "data/prepared/chest-256"
    split.mkdir(parents=True)
    prepared.mkdir(parents=True)
    ids, rng, labels = [f"{i:02}" for i in range(ROWS)], np.random.default_rng(0), np.arange(ROWS) % 4
    pixels = rng.normal(40 + 50 * labels[:, None, None, None], 30, (ROWS, 16, 16, 3)).clip(0, 255).astype(np.uint8)
    np.save(prepared / "inputs.npy", pixels)
    (prepared / "meta.json").write_text(json.dumps({"ids": ids, "variant": {}, "features": [], "digest": "d" * 64}))
    sets = ["val" if i % 24 < 8 else "train" for i in range(ROWS)]
    classes = np.array(TASKS["chest"].classes)
    rows = pd.DataFrame({"id": ids, "set": sets, "group": ids, "label": classes[labels], "source": "a"})
    rows.to_parquet(split / "rows.parquet")
    (split / "stats.json").write_text("{}")
    return root


@pytest.fixture(scope="module")
def trainer(project):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        with Trainer(VALUES, NAME) as trainer:
            yield trainer


def train(trainer, folder, changes, on_epoch=lambda epoch, numbers: True):
    return trainer.train(changes, folder / "state.npz", on_epoch)


def test_a_trial_gives_what_the_same_settings_give_by_themselves(project, trainer, tmp_path):
    epochs = []
    train(trainer, tmp_path, {"lr": 0.1, "network.dropout": 0.5})
    found = train(trainer, tmp_path, {"lr": 0.01}, lambda epoch, numbers: epochs.append(numbers) or True)

    # As stages/train.py does it.
    params = checked(change(VALUES, NAME, {"lr": 0.01}))
    settings, seed = recipe.resolve(params, NAME), params.seed
    backend.start(seed, settings.precision)
    split, prepared = project / "data/split/chest", project / "data/prepared"
    training = assemble(settings, TASKS["chest"].classes, split, prepared, seed, recipe.training_rows(params))
    history = fit(
        training.build(), training.samples(training.train), training.samples(training.val), settings,
        seed=seed, checkpoint=tmp_path / "own.npz", on_epoch=lambda *_: None, classes=training.classes,
    )  # fmt: skip
    assert found == kept(history, settings.early_stopping)
    assert [numbers["val_loss"] for numbers in epochs] == history["val_loss"].tolist()
    assert found["val_loss"] == history["val_loss"].min()


def test_the_process_holds_a_gpu_and_says_who_uses_it_when_memory_runs_out(trainer, tmp_path, monkeypatch, capfd):
    """A script in nvidia-smi's place lists it."""
    gpu = gpus.Device(uuid := f"GPU-{uuid4()}", uuid)
    listing, users = f"echo 'GPU 0: A100 (UUID: {uuid})'", "echo '42, jupyter-lab, 27000 MiB'"
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncase $1 in -L) {listing} ;; *) {users} ;; esac")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    trainer.stop()
    with pytest.raises(TrialError, match=r"^ResourceExhaustedError: .*OOM"):
        train(trainer, tmp_path, {"network.units": 2**42})
    assert f"The memory of {gpu.uuid} ran out" in (error := capfd.readouterr().err)
    assert "42, jupyter-lab, 27000 MiB" in error
    assert gpus._take([gpu]) is None
    assert f"process {trainer._process.pid} (" in gpus._holder(gpu)


def test_a_trial_is_trained_no_further_than_it_is_wanted(trainer, tmp_path):
    seen = []
    assert train(trainer, tmp_path, {"lr": 0.01}, lambda epoch, _: seen.append(epoch) or False) is None
    assert seen == [1]


def test_a_trial_that_fails_or_whose_process_is_killed_leaves_the_next_as_it_is(trainer, tmp_path):
    process = trainer._process
    with pytest.raises(TrialError, match=r"^RuntimeError: convnet: .*loss is no finite number"):
        train(trainer, tmp_path, {"lr": 1e30})
    expected = train(trainer, tmp_path / "one", {"lr": 0.01})
    assert trainer._process is process

    def kill(epoch, numbers):
        os.kill(trainer._process.pid, signal.SIGKILL)
        return True

    with pytest.raises(TrialError, match="ended by SIGKILL, which the system sends where memory runs out"):
        train(trainer, tmp_path, {"lr": 0.01}, kill)
    assert train(trainer, tmp_path / "two", {"lr": 0.01}) == expected


def test_the_process_ends_with_the_study(trainer, tmp_path):
    def end(epoch, numbers):
        trainer._process.stdin.close()  # as the system does when the study's process is killed
        return True

    with pytest.raises(TrialError, match="ended by code 1"):
        train(trainer, tmp_path, {"lr": 0.01, "epochs": 100}, end)
