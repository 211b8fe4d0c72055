"""Training a generator: what it reads, how it ends, and going on after a kill."""

import base64
import hashlib
import json
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from killed_training import images, recipe, train
from PIL import Image
from small_learners import BATCH, CLASSES, SIDE, diffusion, sagan

from medpipe import backend
from medpipe.errors import InputError, SettingError
from medpipe.evaluation.wording import number
from medpipe.generation import deliver, gallery, page
from medpipe.generation.assemble import assemble
from medpipe.generation.report import measure
from medpipe.generation.train import canvas

NAMES = ("a", "b")


def ignore(step, row, pictures):
    pass


def values(learner):
    return [np.array(variable) for variable in learner.state]


def test_a_killed_training_ends_as_an_uninterrupted_one(tmp_path, capsys):
    path = tmp_path / "state.npz"
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed_training.py"), path, "4"], capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    found, canvases = [], []
    for checkpoint in (path, tmp_path / "whole.npz"):
        backend.reset(0, "float32")
        learner, steps = sagan(), {}
        history = train(
            learner, images(), recipe(), checkpoint, lambda step, row, drawn, steps=steps: steps.update({step: drawn})
        )
        found.append((history, values(learner)))
        canvases.append(steps)
    assert "small: going on after step 2" in capsys.readouterr().out
    (history, weights), (expected, expected_weights) = found
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
    assert all(np.array_equal(a, b) for a, b in zip(weights, expected_weights, strict=True))
    assert history["epoch"].tolist() == [2, 4, 6]
    assert [sorted(steps) for steps in canvases] == [[4, 6], [2, 4, 6]]
    np.testing.assert_array_equal(canvases[0][6], canvases[1][6])
    # What is left is the best checkpoint, not the last.
    best = int(history["epoch"][history["fid"].idxmin()])
    np.testing.assert_array_equal(canvas(learner.drawn, CLASSES, recipe().seed), canvases[1][best])


def test_a_diffusion_models_training_goes_on_where_it_stopped_and_its_sampler_is_delivered(tmp_path):
    learner, begun, canvases = diffusion(), [], {}
    begun += values(learner)

    def again(name, on_measure):
        for variable, value in zip(learner.state, begun, strict=True):
            variable.assign(value)
        settings = recipe(steps=4, judged=4)
        return train(learner, images(), settings, tmp_path / name, on_measure), values(learner)

    def stop(step, row, drawn):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again("state.npz", stop)
    (history, weights), (expected, expected_weights) = (
        again(name, lambda step, row, drawn: canvases.update({step: drawn})) for name in ("state.npz", "whole.npz")
    )
    pd.testing.assert_frame_equal(history, expected, check_exact=True)
    assert all(np.array_equal(a, b) for a, b in zip(weights, expected_weights, strict=True))
    assert list(history) == ["epoch", "loss", "gradient", "fid", "kid", "spread"]
    learner.drawn.save(tmp_path / "generator.keras")
    delivered = canvas(deliver.read(tmp_path, "edm"), CLASSES, recipe().seed)
    np.testing.assert_array_equal(delivered, canvases[int(history["epoch"][history["fid"].idxmin()])])


def test_a_loss_that_is_no_number_stops_it_and_the_error_says_when(tmp_path):
    learner, bad = sagan(), images()
    taken = learner.step

    def poisoned(*arguments):
        found = taken(*arguments)
        poisoned.count += 1
        return [np.float32("nan") if poisoned.count == 3 else value for value in found]

    poisoned.count = 0
    learner.step = poisoned
    with pytest.raises(RuntimeError, match="small: d_loss is no finite number at step 3"):
        train(learner, bad, recipe(), tmp_path / "state.npz", ignore)


def test_images_that_are_all_alike_stop_it_and_the_error_says_when(tmp_path):
    learner = sagan()
    [last] = [layer for layer in learner.average.layers if layer.name.startswith("spectral_conv")]
    taken = learner.step

    def collapsing(*arguments):
        found = taken(*arguments)
        last.kernel.assign(last.kernel * 0 + 1e-6)
        last.bias.assign([30.0, 30, 30])
        return found

    learner.step = collapsing
    with pytest.raises(RuntimeError, match="small: all images are alike at step 2"):
        train(learner, images(), recipe(), tmp_path / "state.npz", ignore)


class Watched(np.ndarray):
    """Images that remember which rows were read."""

    rows: set[int] = set()  # noqa: RUF012

    def __getitem__(self, key):
        if isinstance(key, np.ndarray):
            Watched.rows |= set(np.ravel(key).tolist())
        else:
            Watched.rows |= set(np.arange(len(self))[key].ravel().tolist())
        return np.asarray(super().__getitem__(key))


@pytest.fixture
def reading(tmp_path):
    """Twelve training rows and six of each other set, of two classes."""
    samples, sets = images(30), np.repeat(["val", "train", "test", "external", "train"], 6)
    ids = [f"i{n}" for n in range(30)]
    split, prepared = tmp_path / "split", tmp_path / "prepared" / "skin-128"
    split.mkdir()
    prepared.mkdir(parents=True)
    table = pd.DataFrame({"id": ids, "label": [NAMES[n % 2] for n in range(30)], "set": sets})
    table.to_parquet(split / "rows.parquet")
    np.save(prepared / "inputs.npy", samples.inputs)
    meta = {"ids": ids, "variant": {"kind": "images"}, "features": [], "digest": "0" * 64}
    (prepared / "meta.json").write_text(json.dumps(meta))
    return assemble(recipe(drawn=8, nearest=1), NAMES, split, tmp_path / "prepared", None)


def test_only_training_rows_are_read(reading, tmp_path):
    expected = [*range(6, 12), *range(24, 30)]
    assert reading.train.tolist() == expected
    ids = "\n".join(f"i{row}" for row in expected)
    assert reading.described(True)["rows_sha256"] == hashlib.sha256(ids.encode()).hexdigest()
    reading.arrays.inputs = reading.arrays.inputs.view(Watched)
    Watched.rows = set()
    train(sagan(), reading.samples, recipe(steps=4 * (12 // BATCH)), tmp_path / "state.npz", ignore)
    assert Watched.rows == set(expected)


def test_a_class_without_a_training_row_is_named(reading, tmp_path):
    split, prepared = tmp_path / "split", tmp_path / "prepared"
    with pytest.raises(SettingError, match="no training row of class c; a generator cannot learn it"):
        assemble(recipe(), (*NAMES, "c"), split, prepared, None)


def test_the_report_sets_generated_images_beside_as_many_real_ones(reading, tmp_path):
    generator = sagan().drawn
    generator.save(tmp_path / "generator.keras")
    loaded = deliver.read(tmp_path, "sagan")

    class Flat:
        name = "pixels"

        def __call__(self, pixels):
            return pixels.reshape(len(pixels), -1)[:, ::16] / 255.0

    found = measure(reading, loaded, Flat())
    np.testing.assert_array_equal(found.images, measure(reading, generator, Flat()).images)
    assert found.images.shape == (16, SIDE, SIDE, 3)
    assert found.labels.tolist() == [0] * 8 + [1] * 8
    report = found.report
    assert (report["features"], report["training_images"], report["all"]["images"]) == ("pixels", 12, 6)
    assert {name: part["images"] for name, part in report["classes"].items()} == {"a": 3, "b": 3}
    # Noise of a random generator is farther from training images than other real ones are.
    for part in (report["all"], *report["classes"].values()):
        assert part["generated"]["fid"] > part["floor"]["fid"]
        assert part["floor"]["inception_score"] <= 2
    assert report["memorised"]["pixels"]["share"] == 0
    assert {name: len(pictures) for name, (pictures, _) in found.pictures.items()} == {
        "real-and-generated": 32, "interpolation": 16, "closest-pixels": 12, "closest-features": 12,
    }  # fmt: skip

    # What the comparison shows of it.
    canvases = tmp_path / "canvas"
    canvases.mkdir()
    for step in range(1, 7):
        gallery.save(canvases / f"step-{step:06}.png", found.images[:4], 2)
    told = page.shown(gallery.record("small", NAMES, report, found.pictures, canvases))
    steps = [picture["caption"].split(",")[0] for picture in told.pictures[:4]]
    assert steps == ["After step 1", "After step 3", "After step 4", "After step 6"]
    assert len(told.pictures) == 4 + len(found.pictures)
    first = Image.open(BytesIO(base64.b64decode(told.pictures[4]["jpeg"])))
    assert first.size == gallery.grid(*found.pictures["real-and-generated"]).shape[1::-1]
    assert told.rows[0] == ["FID", *(number(report["all"][side]["fid"]) for side in ("generated", "floor"))]
    assert "than 5% of unseen real ones are: 0.0% [0.0%, " in told.notes[1]


def test_a_generator_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="generator.keras: cannot be read .* run `dvc repro generate`"):
        deliver.read(tmp_path, "sagan")
