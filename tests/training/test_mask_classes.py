"""Masks that mark two classes, from the archive to the served model: a phantom of red and blue squares."""

import json
from io import BytesIO

import keras
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, evaluate_settings
from keras import layers
from PIL import Image
from small_training import ignore, recipe

from medpipe import backend
from medpipe.data.archive import Archive
from medpipe.data.clean import clean
from medpipe.data.images import decode
from medpipe.data.ingest import build_manifest
from medpipe.data.prepare import prepare_images
from medpipe.data.split import split
from medpipe.evaluation.challenge import Contender, challenge
from medpipe.evaluation.compare import compare
from medpipe.evaluation.evaluate import evaluate
from medpipe.evaluation.markdown import markdown
from medpipe.evaluation.page import html
from medpipe.evaluation.plots import plot_all
from medpipe.evaluation.segmentation import patients
from medpipe.exploration import page as exploration_page
from medpipe.exploration import plots as exploration_plots
from medpipe.exploration.explore import explore
from medpipe.models import cascade, delivery
from medpipe.params import Clean, Compare, Declaration, Explore, Ingest, PreparedImages, Split
from medpipe.serving import package
from medpipe.serving.predictor import Predictor
from medpipe.training.assemble import assemble
from medpipe.training.fit import fit

SIDE = 16
VALUES = {"red": [7, 9], "blue": [200]}
TASK = Declaration.model_validate({
    "archive": "", "decoding": EIGHT_BIT, "kind": "both", "classes": ["empty", "marked"], "mask_values": VALUES,
    "reader": {"kind": "pairs", "images": "images/(.+)", "masks": "masks/(.+)", "codes": {},
               "group": {"pattern": "(P[0-9]+)_"}, "ungrouped": "refuse"},
    "features": {}, "subgroups": [], "external": None,
})  # fmt: skip
EVALUATE = evaluate_settings(50, seed=1, flips=("horizontal",))
COMPARE = Compare(models=("m",), metric="dice", margin=0.02, merge={})


def png(array):
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def draw(archive):
    """Two images a patient, the second without anything; of the patients each has squares elsewhere."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (archive / folder).mkdir(parents=True)
    for i in range(40):
        image, mask = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8), np.zeros((SIDE, SIDE), np.uint8)
        if i % 2 == 0:
            for channel, value, first in ((0, (7, 9)[i % 4 // 2], 0), (2, 200, 8)):
                top, left = rng.integers(0, 8), first + rng.integers(0, 3)
                image[top : top + 6, left : left + 5, channel] = 250
                mask[top : top + 6, left : left + 5] = value
        for folder, array in (("images", image), ("masks", mask)):
            (archive / folder / f"P{i // 2:02}_{i % 2}.png").write_bytes(png(array))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder with `split` and `prepared`, and all that came before them."""
    folder = tmp_path_factory.mktemp("squares")
    draw(folder / "archive")
    task = TASK.model_copy(update={"archive": str(folder / "archive")})
    ingested = build_manifest("squares", task, Ingest(max_quarantined=0, max_pixels=1000))
    table = clean(ingested.manifest, task, Clean(unknown=None))
    rows, stats, report = split(table, task, Split(seed=1, by="group", train=0.6, val=0.2, test=0.2, near=0))
    (folder / "split").mkdir()
    rows.to_parquet(folder / "split/rows.parquet", index=False)
    (folder / "split/stats.json").write_text(json.dumps(stats))
    (folder / "prepared/squares-16").mkdir(parents=True)
    variant = PreparedImages(
        task="squares", kind="images", square=False, sizes=(SIDE,), equalise=False, decoding=EIGHT_BIT,
        mask_values=task.mask_values,
    )  # fmt: skip
    prepare_images(table, task.archive, variant, folder / "prepared/squares-16", 1000)
    return folder, task, ingested, table, rows, report


@pytest.fixture(scope="module")
def trained(prepared):
    """The training, and a small segmenter of three classes trained on it."""
    folder = prepared[0]
    settings = recipe(
        "brain-resunet", task="squares", inputs=("squares-16",), only=None, epochs=25, batch=8, lr=0.2, decay=None,
        optimizer=recipe("brain-classifier").optimizer,
    )  # fmt: skip
    backend.start(1, "float32")
    training = assemble(settings, TASK.classes, folder / "split", folder / "prepared", 1, None)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(3, 1, activation="softmax")(layers.Rescaling(1 / 255)(inputs))  # a pixel by its colour
    model = keras.Model(inputs, x, name="squares")
    history = fit(
        model, training.samples(training.train), training.samples(training.val), settings,
        seed=1, checkpoint=folder / "state.npz", on_epoch=ignore,
    )  # fmt: skip
    return training, model, history


@pytest.fixture(scope="module")
def evaluated(prepared, trained):
    training, model, _ = trained
    described = training.described(1, deterministic=True)
    delivered = training.delivery("m", described)
    return delivered, evaluate(delivered, model, prepared[4], [training.arrays], prepared[1], EVALUATE, 1)


def test_masks_are_prepared_as_the_places_of_their_classes(prepared, trained):
    archive, arrays = Archive(prepared[1].archive), trained[0].arrays
    assert arrays.marks == ("red", "blue")
    for id_, mask in zip(arrays.ids, arrays.masks, strict=True):
        name = f"masks/{id_.removeprefix('images/')}.png"
        stored = np.asarray(decode(archive.read(name), name=name, max_pixels=1000, decoding=EIGHT_BIT))[..., 0]
        np.testing.assert_array_equal(mask, np.select([np.isin(stored, (7, 9)), stored == 200], [1, 2]))


def test_the_recipe_builds_a_softmax_over_background_and_both(trained):
    training, _, history = trained
    assert training.build().output_shape == (None, SIDE, SIDE, 3)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["val_dice"].iloc[-1] > 0.8


def test_each_class_is_measured_and_a_patient_is_their_mean(evaluated):
    _, found = evaluated
    assert {"tp:red", "hd95:blue"} <= set(found.table)
    assert "tp" not in found.table
    test = found.report["sets"]["test"]
    scores = patients(found.table[found.table["set"] == "test"], EVALUATE.tversky_alpha)
    for name in VALUES:
        of = test["per_class"][name]["dice"]
        assert of["value"] == pytest.approx(scores[f"dice:{name}"].mean())
        assert "an interval needs" in of["why"]  # of so few patients
        assert of["value"] > 0.8
        assert found.headline[f"dice/{name}"] == of["value"]
    assert found.headline["dice"] == pytest.approx(np.mean([found.headline[f"dice/{name}"] for name in VALUES]))
    assert test["subgroups"] == {}


def test_the_pages_and_plots_name_both_classes(prepared, evaluated, tmp_path):
    _, found = evaluated
    names = plot_all(tmp_path, found.report, found.table, None, found.examples)
    assert names == ["dice.png", "gallery.png"]
    other = found.table.assign(**{"tp:red": 0, "fn:red": found.table["tp:red"] + found.table["fn:red"]})
    both = {"m": found.table, "worse": other}
    comparison = {"task": "squares", "runs": {}, "probes": None, "gate": [], "published": {}, "reduced": ""} | compare(
        both, dict.fromkeys(both, found.report), prepared[5], COMPARE.model_copy(update={"models": tuple(both)}),
        EVALUATE, 1,
    )  # fmt: skip
    assert comparison["best"] == "m"
    section = comparison["masks"]
    test = found.table[found.table["set"] == "test"]
    marked = int((test["label"] == "marked").sum())
    assert section["support"] == {"red": marked, "blue": marked}
    assert section["models"][0]["per_class"]["red"]["dice"]["value"] == found.headline["dice/red"]
    assert section["pairs"][0]["per_class"]["red"]["dice"]["difference"] > 0
    assert section["pairs"][0]["per_class"]["blue"]["dice"]["difference"] == 0
    assert "Dice of each class" in html(comparison, [])
    assert "### Dice of each class" in markdown(comparison)
    result = challenge(
        Contender("worse", other, found.report), Contender("m", found.table, found.report), COMPARE, EVALUATE, 1
    )
    assert result["difference"] < 0


def test_the_model_is_served_with_numbered_masks_and_the_share_of_each_class(prepared, trained, evaluated, tmp_path):
    delivered, found = evaluated
    folder = tmp_path / "m"
    folder.mkdir()
    delivered.write(folder, trained[1])
    (folder / delivery.GRAPH).write_bytes(found.graph)
    columns = ["marked", "share", "share_red", "share_blue", "mask", "error"]
    assert package.signature(delivery.read_recipe(folder), False, False).outputs.input_names() == columns
    served = Predictor(folder, 1000, EVALUATE.flips, None, None, image_root=prepared[1].archive)
    example = found.examples[-1]
    answer = served.predict(pd.DataFrame({"image": [f"{example.id}.png"]}))
    assert list(answer) == columns
    mask = np.asarray(Image.open(BytesIO(answer["mask"][0])))
    np.testing.assert_array_equal(mask, example.predicted)
    assert set(np.unique(mask)) == {0, 1, 2}
    assert answer["share_blue"][0] == pytest.approx((mask == 2).mean())
    assert answer["share"][0] == pytest.approx(answer["share_red"][0] + answer["share_blue"][0])


def test_a_cascade_empties_masks_of_several_classes(prepared, trained, evaluated):
    training, segmenter, _ = trained
    delivered, found = evaluated
    inputs = keras.Input((SIDE, SIDE, 3))
    brightest = layers.GlobalMaxPooling2D()(layers.Rescaling(1 / 255)(inputs))
    classifier = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(brightest))
    classifier.layers[-1].set_weights([np.full((3, 1), 9.0), np.array([-12.0])])  # marked where anything is bright
    both = delivery.Delivery(**vars(delivered) | {"kind": "cascade", "threshold": 0.5})
    gated = evaluate(
        both, cascade.compose(classifier, segmenter), prepared[4], [training.arrays], prepared[1], EVALUATE, 1
    )
    empty = (gated.table["label"] == "empty").to_numpy()
    assert (gated.table.loc[empty, ["fp:red", "fp:blue"]] == 0).all(axis=None)
    same = gated.table.loc[~empty, "tp:blue"].tolist() == found.table.loc[~empty, "tp:blue"].tolist()
    assert same
    assert (gated.headline["missed"], gated.headline["false_alarms"]) == (0, 0)


def test_the_data_are_explored_a_class_at_a_time(prepared, tmp_path):
    _, task, ingested, table, rows, report = prepared
    settings = Explore(seed=1, images_a_class=2, sample=20, undersample=1.0)
    found = explore(
        ingested.manifest, table, rows, report, ingested.quarantine, task, Archive(task.archive), settings, 1000
    )
    facts = found.facts["masks"]
    assert facts["classes"]["blue"]["area"]["max"] == pytest.approx(30 / SIDE**2)
    assert facts["marked"] == facts["classes"]["red"]["marked"] == facts["classes"]["blue"]["marked"]
    drawn = exploration_plots.plot_all(tmp_path, "squares", found)
    assert {"masks.png", "mask_area.png"} <= set(drawn)
    assert '<th scope="row">blue</th>' in exploration_page.html("squares", found.facts, tmp_path, drawn)
