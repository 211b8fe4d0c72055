"""params.yaml: the file that ships is valid, and a wrong key is named in full."""

import re
from pathlib import Path

import pytest
import yaml

from medpipe import params
from medpipe.errors import InputError

SHIPPED = Path("params.yaml")


def load_changed(tmp_path: Path, change) -> params.Params:
    values = params.read(SHIPPED)
    change(values)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return params.load(path)


def vote(values, **changes):
    values["votes"]["skin-mean-b4"].update(changes)


def brain_vote(values, member):
    values["ensembles"]["brain-mean"] = {"task": "brain", "weights": "equal"}
    values["votes"]["brain"] = {"ensemble": "brain-mean", "task": "brain", "member": member}


def test_the_shipped_file_is_valid_and_every_scale_resolves():
    from medpipe.recipe import resolve, resolve_variant

    for scale in ("laptop", "full"):
        settings = params.load(SHIPPED).model_copy(update={"scale": scale})
        assert all(resolve(settings, name).task == settings.models[name].task for name in settings.models)
        assert all(resolve_variant(settings, key).task == settings.prepare[key].task for key in settings.prepare)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["models"]["skin-b4"].update(lrr=1), "models.skin-b4.lrr: unknown key"),
        (lambda v: v["models"]["skin-b4"].pop("lr"), "models.skin-b4.lr: missing"),
        (
            lambda v: v["models"]["skin-b4"]["loss"].pop("label_smoothing"),
            "models.skin-b4.loss.label_smoothing: missing",
        ),
        (lambda v: v["models"]["chest-densenet169"]["loss"].update(gamma=-1), "models.chest-densenet169.loss.gamma"),
        (lambda v: v["models"]["skin-b4"].update(architecture="vit"), "models.skin-b4: Input tag 'vit'"),
        (lambda v: v["fusions"]["skin-early"].update(extra=1), "fusions.skin-early.extra: unknown key"),
        (lambda v: v["prepare"]["skin-28"].update(sizes=[]), "prepare.skin-28.sizes"),
        (lambda v: v["train"].pop("lr"), "train.lr: missing"),
        (lambda v: v["train"].update(lr="fast"), "train.lr"),
        (lambda v: v.pop("evaluate"), "evaluate: missing"),
        (lambda v: v.update(evalaute={}), "evalaute: unknown key"),
        (
            lambda v: v["split"]["skin"].update(test=0.5),
            "split.skin: train, val and test must add up to 1",
        ),
        (
            lambda v: v["models"]["skin-b0"].update(class_weights={"mel": 1, "naevus": 2}),
            "models.skin-b0.class_weights: must name each class once: akiec, bcc, bkl, df, mel, nv, vasc; they name",
        ),
        (
            lambda v: v["models"]["skin-b0"].update(sampling={"kind": "balanced", "schedule": [[1, 500], [11, None]]}),
            "models.skin-b0.sampling.schedule: its epochs must be at most epochs, 10; one is 11",
        ),
        (
            lambda v: v["models"]["skin-b0"].update(sampling={"kind": "balanced", "schedule": [[2, 500]]}),
            "models.skin-b0.sampling.schedule: must begin with epoch 1",
        ),
        (
            lambda v: v["models"]["skin-b4"].update(batch=1),
            "models.skin-b4.batch: must be at least 2 where mixing is on, is 1",
        ),
        (
            lambda v: v["models"]["brain-resunet"].update(only="cyst"),
            "models.brain-resunet.only: must be one of healthy",
        ),
        (
            lambda v: v["models"]["chest-densenet169"].update(merge={"other": ["Lung_Opacity", "Pneumonia"]}),
            "models.chest-densenet169.merge: 'Pneumonia' must be named once",
        ),
        (
            lambda v: v["models"]["skin-b0"].update(folds=1),
            "models.skin-b0.folds: Input should be greater than or equal to 2",
        ),
        (
            lambda v: v["models"]["skin-image"].update(folds=3),
            "members: models.skin-image.folds must be null",
        ),
        (lambda v: v.update(scale="huge"), "scale: 'huge' is none of scales:"),
        (
            lambda v: v["models"]["skin-b4"].update(inputs=["chest-256"]),
            "models.skin-b4.inputs: 'chest-256' is none of",
        ),
        (
            lambda v: v["fusions"]["skin-late"].update(members=["skin-tabular", "gone"]),
            "fusions.skin-late.members: 'gone'",
        ),
        (lambda v: v["fusions"]["skin-late"].update(inputs=["skin-table", "skin-480"]), "fusions.skin-late.inputs"),
        (lambda v: v["ensembles"]["skin-mean"].update(weights="best"), "ensembles.skin-mean.weights"),
        (lambda v: v["ensembles"].update(lone=v["ensembles"]["skin-mean"]), "ensembles.lone: has 0 of votes"),
        (lambda v: v["ensembles"].update({"skin-b4": v["ensembles"]["skin-mean"]}), "skin-b4 is there twice"),
        (lambda v: vote(v, ensemble="gone"), "votes.skin-mean-b4.ensemble: 'gone' is none of ensembles: skin-mean"),
        (lambda v: vote(v, task="chest"), "votes.skin-mean-b4.task: is chest, but ensembles.skin-mean.task is skin"),
        (lambda v: vote(v, member="gone"), "votes.skin-mean-b4.member: 'gone' is no skin model in models or fusions"),
        (
            lambda v: vote(v, member="skin-v2m"),
            "votes.skin-mean-v2m.member: 'skin-v2m' has a vote in skin-mean",
        ),
        (
            lambda v: v["models"]["skin-b4"].update(folds=3),
            "votes.skin-mean-b4.member: models.skin-b4.folds must be",
        ),
        (lambda v: brain_vote(v, "brain-resunet"), "votes.brain.member: 'brain-resunet' must be a classifier"),
        (lambda v: brain_vote(v, "brain-cascade"), "votes.brain.member: 'brain-cascade' must be a classifier"),
        (lambda v: v["evaluate"].update(flips=["diagonal"]), "evaluate.flips"),
        (lambda v: v["evaluate"].update(flips=["vertical"] * 2), "evaluate.flips: each flip can be named once"),
        (lambda v: v["compare"]["skin"].update(models=["chest-convnet"]), "compare.skin.models: 'chest-convnet'"),
    ],
)
def test_a_wrong_key_is_refused_by_its_full_name(tmp_path, change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        load_changed(tmp_path, change)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(InputError, match="gone.yaml: not found"):
        params.load(tmp_path / "gone.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(InputError, match=re.escape("broken.yaml")):
        params.load(broken)


@pytest.mark.parametrize(
    ("text", "value"), [("3e-05", 3e-05), ("2e-5", 2e-5), ("1.0e-7", 1e-7), ("1E3", 1000.0), (".5", 0.5), ("10", 10)]
)
def test_floats_as_dvc_writes_them_are_floats(tmp_path, text, value):
    path = tmp_path / "params.yaml"
    path.write_text(f"lr: {text}\nday: 2e\n")
    read = params.read(path)
    assert read["lr"] == value
    assert type(read["lr"]) is type(value)
    assert read["day"] == "2e"
