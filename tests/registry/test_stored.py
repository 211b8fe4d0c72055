"""A new training's backbone from another run of ours, by each name that the store knows it by."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from medpipe import params, tracking
from medpipe.errors import InputError
from medpipe.models import backbone, weights
from medpipe.registry import stored
from medpipe.registry.register import register

SHAPE = (32, 32, 3)
SETTINGS = params.load(Path(__file__).parents[2]).models["chest-mobilenetv2"].network
SMALL = SETTINGS.model_copy(update={"options": {"alpha": 0.35}, "weights": None})


@pytest.fixture(autouse=True)
def _new_process():
    stored.find.cache_clear()


def registered(root, name):
    register(name, "skin-classifier", root, {}, aliases={"champion": None})


def halves(model):
    """Weights before and after the embedding, each layer's."""
    names = [layer.name for layer in model.layers]
    at = names.index("embedding")
    return [[layer.get_weights() for layer in part if layer.weights] for part in (model.layers[:at], model.layers[at:])]


def test_a_backbone_from_another_run(train, root):
    source = backbone.build(SMALL, SHAPE, 2, {})
    for variable in source.weights:  # what training leaves: no two layers alike
        variable.assign(variable + np.random.default_rng(len(variable.path)).normal(size=variable.shape))
    run = train("skin-b4", model=source)
    registered(root, "skin-b4")
    [logged] = run.client.search_logged_models([run.client.get_run(run.run_id).info.experiment_id])
    digest = hashlib.sha256((root / "models/skin-b4/model.keras").read_bytes()).hexdigest()
    about = {"model": logged.model_id, "run": run.run_id, "sha256": digest}
    expected, _ = halves(source)
    for name in (f"runs:/{run.run_id}", "models:/skin-classifier@champion", "models:/skin-classifier/1"):
        model = backbone.build(SMALL.model_copy(update={"weights": name, "head": (4,)}), SHAPE, 5, {})
        found, head = halves(model)
        assert len(found) == len(expected) > 100
        for one, two in zip(found, expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        assert [[w.shape for w in layer] for layer in head] == [[(1280, 4), (4,)], [(4, 5), (5,)]]
        assert weights.lineage(name) == about | ({} if name.startswith("runs") else {"version": "1"})
    with pytest.raises(InputError, match=rf"network.weights: runs:/{run.run_id} does not fit .*: where this has layer"):
        backbone.build(SMALL.model_copy(update={"weights": f"runs:/{run.run_id}", "options": {}}), SHAPE, 5, {})


def test_an_alias_is_asked_once_a_process(train, root):
    first = train("skin-b4")
    registered(root, "skin-b4")
    name = "models:/skin-classifier@champion"
    assert stored.find(name).run == first.run_id
    second = train("skin-v2m")
    registered(root, "skin-v2m")
    assert stored.find(name).run == first.run_id
    stored.find.cache_clear()
    assert (stored.find(name).run, stored.find(name).version) == (second.run_id, "2")
    assert stored.find("models:/skin-classifier/1").run == first.run_id


@pytest.mark.parametrize(
    "name", ["runs:/0123", "models:/skin-classifier@champion", "models:/skin-classifier/7", "models:/skin-classifier"]
)
def test_what_the_store_does_not_hold_is_refused(root, name):
    with pytest.raises(InputError, match=rf"network.weights: {name}: sqlite.* has none .*; give runs:/<run id>, "):
        stored.find(name)


def test_a_run_without_a_model_is_refused(train):
    run = train("skin-b4", evaluated=False)
    with pytest.raises(InputError, match=rf"runs:/{run.run_id}: no model is logged with it; run its evaluation"):
        stored.find(f"runs:/{run.run_id}")


def test_a_fusion_is_refused_by_its_members_names(train, root):
    for name in ("skin-b4", "skin-v2m"):
        train(name)
    run = train("skin-mean", members=("skin-b4", "skin-v2m"))
    for name in (f"runs:/{run.run_id}", str(root / "models/skin-mean/model.keras")):
        with pytest.raises(InputError, match=rf"{name} is made of several models \(skin-b4, skin-v2m\): give one of"):
            weights.lineage(name)


def test_another_librarys_model_is_refused(root):
    client = tracking.connect()
    experiment = client.create_experiment("other", (root / "elsewhere").as_uri())
    run = client.create_run(experiment)
    logged = client.create_logged_model(experiment, "forest", run.info.run_id)
    client.finalize_logged_model(logged.model_id, "READY")
    with pytest.raises(InputError, match=rf"runs:/{run.info.run_id}: .*model\.keras cannot be had"):
        stored.find(f"runs:/{run.info.run_id}")
