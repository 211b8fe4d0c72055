"""The files of values: those that ship are valid, and a wrong key is named by its file and in full."""

import re
from pathlib import Path

import pytest

from medpipe import params
from medpipe.errors import InputError


def load_changed(tmp_path: Path, change) -> params.Params:
    values = params.read()
    change(values)
    params.write(tmp_path, values)
    return params.load(tmp_path)


def mean(values, **changes):
    values["fusions"]["skin-mean"].update(changes)


def grouped_by(values, column):
    values["tasks"]["skin"]["reader"] = {
        "kind": "table", "file": "t.csv", "images": "", "image": "file", "mask": None, "label": "dx", "codes": {},
        "source": None, "set": "part", "columns": {}, "group": {"column": ["patient", column]}, "ungrouped": "refuse",
    }  # fmt: skip


def decide(values, **changes):
    values["evaluate"]["decide"]["skin"].update(changes)


def generator(values, **changes):
    values["generators"]["skin-sagan"].update(changes)


def dope(values, name, kind):
    sampling = {"kind": kind, "schedule": [[1, 100]]}
    values["models"]["skin-b0"].update(inputs=["skin-224", name], sampling=sampling)


def brain_mean(values, member):
    values["fusions"]["brain-mean"] = {
        "task": "brain", "kind": "mean", "members": ["brain-classifier", member], "inputs": ["brain-256"] * 2,
        "weights": "equal",
    }  # fmt: skip
    values["compare"]["brain"]["models"].append("brain-mean")


def test_the_shipped_files_are_valid_and_every_scale_resolves():
    from medpipe.recipe import resolve, resolve_variant

    for scale in ("laptop", "full"):
        settings = params.load().model_copy(update={"scale": scale})
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
            lambda v: v["tasks"]["brain"].update(mask_values={"core": [1, 4], "oedema": [2, 4]}),
            "tasks.brain: mask_values: 4 stands twice",
        ),
        (
            lambda v: v["tasks"]["brain"].update(mask_values=[255]),
            "tasks.brain.mask_values: Input should be a valid dictionary",
        ),
        (
            lambda v: v["models"]["brain-resunet"].update(loss={"name": "crossentropy", "label_smoothing": 0.0}),
            "models.brain-resunet.loss.name: Input should be 'focal_tversky'",
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
            lambda v: [v["models"][name].update(folds=3) for name in ("skin-tabular", "skin-image")],
            "fusions.skin-early.members: models.skin-tabular.folds must be null",
        ),
        (
            lambda v: v["models"]["skin-image"].update(folds=3),
            "fusions.skin-late.members: give all of them `folds`, or none: only skin-image has",
        ),
        (
            lambda v: v["models"]["skin-image"].update(only="mel"),
            "fusions.skin-late.members: 'skin-image' must be a classifier of all rows",
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
        (lambda v: v["fusions"]["skin-late"].update(inputs=["skin-28"] * 2), "[skin-table, skin-28]"),
        (lambda v: mean(v, weights="best"), "fusions.skin-mean.weights"),
        (lambda v: mean(v, members=["skin-b4"]), "fusions.skin-mean.members"),
        (lambda v: mean(v, members=["skin-b4"] * 2), "fusions.skin-mean.members: each can be named once"),
        (lambda v: mean(v, members=["skin-b4", "gone"]), "'gone' is no skin model in models or fusions"),
        (lambda v: mean(v, members=["skin-b4", "skin-early"]), "[skin-480, skin-table, skin-28]"),
        (lambda v: mean(v, task="chest"), "fusions.skin-mean.inputs: 'skin-480' is none of prepare's"),
        (lambda v: v["fusions"].update({"skin-b4": v["fusions"]["skin-mean"]}), "models: skin-b4 is in fusions, too"),
        (lambda v: v["models"]["skin-b4"].update(folds=3), "fusions.skin-mean.members: models.skin-b4.folds must be"),
        (lambda v: brain_mean(v, "brain-resunet"), "'brain-resunet' must be a classifier"),
        (lambda v: brain_mean(v, "brain-cascade"), "'brain-cascade' must be a classifier"),
        (lambda v: v["models"]["skin-b4"].update(base="gone"), "models.skin-b4.base: 'gone' is none of bases: "),
        (lambda v: v["models"]["skin-b4"].pop("base"), "models.skin-b4.base: missing"),
        (lambda v: v["bases"]["scratch"].update(base="backbone"), "bases.scratch.base: a base cannot have one"),
        (lambda v: v["bases"]["backbone"].update(lrr=1), "models.skin-image.lrr: unknown key"),
        (lambda v: v["compare"]["skin"]["models"].remove("skin-b4"), "compare.skin.models: lacks skin-b4"),
        *(
            (
                lambda v, name=name: v["models"].update({name: v["models"]["skin-b4"]}),
                f"models.{name}: {name!r} must match",
            )
            for name in ("skin-v1.5", "skin b4", "skin:b4", "skin/b4", "../b4", "skin@b4")
        ),
        (lambda v: v["models"].update(exploration=v["models"]["skin-b4"]), "models.exploration: so plots of the data"),
        (
            lambda v: v["fusions"].update(exploration=v["fusions"]["skin-mean"]),
            "fusions.exploration: so plots of the data",
        ),
        (lambda v: v["prepare"].update({"a b;c": v["prepare"]["skin-28"]}), "prepare.a b;c: 'a b;c' must match"),
        (lambda v: v["scales"].update({"v1.2": None}), "scales.v1.2: 'v1.2' must match"),
        (
            lambda v: v["scales"].update(half=None),
            "image_size: must name each scale of params.yaml once; not in both is half",
        ),
        (lambda v: v["registry"]["skin"].update(name="skin/classifier"), "registry.skin.name"),
        (lambda v: v["registry"]["skin"].update(name="skin's"), "registry.skin.name"),
        *(
            (
                lambda v, name=name: v["models"]["chest-convnet"].update(merge={name: ["COVID", "Normal"]}),
                f"models.chest-convnet.merge.{name}: {name!r} must match",
            )
            for name in ("benign (other)", "nv+bkl", "a/b")
        ),
        (lambda v: v["evaluate"].update(flips=["diagonal"]), "evaluate.flips"),
        (lambda v: decide(v, of="gone"), "evaluate.decide.skin: 'gone' is no class of it"),
        (lambda v: decide(v, rule={"cost": 0}), "evaluate.decide.skin.rule.cost: Input should be greater than 0"),
        (lambda v: decide(v, rule={"sensitivity": 2}), "evaluate.decide.skin.rule.sensitivity: Input should be less"),
        (lambda v: decide(v, rule="best"), "evaluate.decide.skin.rule: Input should be 'youden'"),
        *(
            (lambda v, name=name: v["tasks"]["brain"].update(subgroups=[name]), f"{name!r} is no name for a subgroup")
            for name in ("set", "group", "label", "id", "grouped", "width", "temperature", "p_tumour", "tp")
        ),
        (lambda v: v["tasks"]["skin"]["features"].update(set={"values": ["a"]}), "'set' is no name for a subgroup or"),
        *(
            (
                lambda v, name=name: grouped_by(v, name),
                f"group: the column {name!r} is the {what}, and names no patient",
            )
            for name, what in (("file", "image"), ("dx", "label"), ("part", "set"))
        ),
        (lambda v: v["evaluate"].update(flips=["vertical"] * 2), "evaluate.flips: each flip can be named once"),
        (lambda v: v["compare"]["skin"].update(models=["chest-convnet"]), "compare.skin.models: 'chest-convnet'"),
        (lambda v: v["probes"]["chest"].update(models=["skin-b4"]), "probes.chest.models: 'skin-b4' is no chest"),
        (lambda v: v["probes"]["chest"].update(box=None), "probes.chest.box: null takes the region from masks"),
        (
            lambda v: generator(v, inputs=["skin-table"]),
            "generators.skin-sagan.inputs: 'skin-table' is none of prepare's",
        ),
        (
            lambda v: generator(v, inputs=["chest-256"]),
            "generators.skin-sagan.inputs: 'chest-256' is none of prepare's",
        ),
        (lambda v: generator(v, task="liver"), "generators.skin-sagan.task: 'liver' is none of tasks"),
        (lambda v: generator(v, batch=1), "generators.skin-sagan.batch"),
        (lambda v: generator(v, kind="gan"), "generators.skin-sagan: Input tag 'gan'"),
        (lambda v: v["generators"]["skin-edm"]["network"].update(channels=6), "generators.skin-edm.network.channels"),
        (lambda v: v["generator_caps"]["laptop"]["edm"].pop("heun"), "generator_caps.laptop.edm.heun: missing"),
        (
            lambda v: dope(v, "skin-sagan", "fill"),
            "models.skin-b0.inputs: of sampling.kind generated",
        ),
        (
            lambda v: dope(v, "skin-480", "generated"),
            "models.skin-b0.inputs: 'skin-480' is none of gen",
        ),
        (
            lambda v: v["generators"].update({"skin-b4": v["generators"]["skin-sagan"]}),
            "generators.skin-b4: is a name in prepare, models or fusions, too",
        ),
        (lambda v: v["probes"]["chest"].update(inputs=["skin-28"]), "probes.chest.inputs: must be what"),
    ],
)
def test_a_wrong_key_is_refused_by_its_full_name(tmp_path, change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        load_changed(tmp_path, change)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(InputError, match="gone.yaml: not found"):
        params.read_file(tmp_path / "gone.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(InputError, match=re.escape("broken.yaml")):
        params.read_file(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["split"]["skin"].update(near="far"), "data.yaml: split.skin.near: "),
        (lambda v: v["clean"]["chest"].update(unknown="drop"), "data.yaml: clean.chest.unknown: must be null"),
        (lambda v: v["models"]["skin-b4"].pop("base"), "params.yaml: models.skin-b4.base: missing"),
        (lambda v: v["compare"].pop("brain"), "evaluation.yaml: compare.brain: missing, which its registry need"),
        (
            lambda v: v["evaluate"]["decide"]["skin"].update(rule={"cost": 0.5}),
            "evaluation.yaml: evaluate.decide.skin.rule.cost: must be 1 or more, is 0.5: what a missed case costs, in",
        ),
        (lambda v: v.pop("registry"), "evaluation.yaml: registry: missing"),
    ],
)
def test_a_wrong_key_is_refused_by_its_file(tmp_path, change, message):
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / message))}"):
        load_changed(tmp_path, change)


def test_a_section_in_another_file_than_its_own_is_refused(tmp_path):
    params.write(tmp_path, params.read())
    with (tmp_path / "evaluation.yaml").open("a") as file:
        file.write("train: {}\n")
    with pytest.raises(
        InputError, match=r"evaluation\.yaml: train: unknown key; the file holds evaluate, compare, probes, reg"
    ):
        params.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"), [("3e-05", 3e-05), ("2e-5", 2e-5), ("1.0e-7", 1e-7), ("1E3", 1000.0), (".5", 0.5), ("10", 10)]
)
def test_floats_as_dvc_writes_them_are_floats(tmp_path, text, value):
    path = tmp_path / "params.yaml"
    path.write_text(f"lr: {text}\nday: 2e\n")
    read = params.read_file(path)
    assert read["lr"] == value
    assert type(read["lr"]) is type(value)
    assert read["day"] == "2e"


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("section", [("train", "lr"), ("split", "skin", "val"), ("evaluate", "confidence")])
def test_numbers_must_be_finite(tmp_path, section, bad):
    def change(values):
        *parents, last = section
        for key in parents:
            values = values[key]
        values[last] = bad

    with pytest.raises(InputError, match=f"{'.'.join(section)}: Input should be a finite number"):
        load_changed(tmp_path, change)


VOLUMES = {"window": None, "frames": "split", "axis": 2, "context": 0, "max_voxels": 1 << 20}


@pytest.mark.parametrize(
    "window",
    ["full", "file", None, {"values": [-100, 400]}, {"percentiles": [0.5, 99.5]}, [[40.0, 80.0], [-600.0, 1500.0]]],
)
def test_a_window_is_what_was_written(window):
    values = VOLUMES | {"window": window}
    decoding = params.validated(params.Decoding, values, "p.yaml")
    assert decoding.model_dump(mode="json") == values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": "wide"}, "p.yaml: images.window: Input should be 'full' or 'file'"),
        ({"window": {"values": [5, 5]}}, r"p.yaml: images.window: values must rise, are \[5.0, 5.0\]"),
        ({"window": {"values": [0]}}, "p.yaml: images.window.values.1: "),
        ({"window": {"percentiles": [99, 1]}}, "p.yaml: images.window: percentiles must rise"),
        ({"window": {"percentiles": [0, 101]}}, "p.yaml: images.window.percentiles.1: "),
        ({"window": {"values": [0, 1], "of": 1}}, "p.yaml: images.window.of: unknown key"),
        ({"axis": 3}, "p.yaml: images.axis: "),
        ({"window": [[40, 0]]}, "p.yaml: images.window.0.1: Input should be greater than 0"),
        ({"window": [[1, 1]] * 4}, "p.yaml: images.window: Tuple should have at most 3 items"),
        ({"context": 1, "axis": None}, "p.yaml: images: context: 1 is for slices of volumes"),
        ({"context": 1, "window": [[1, 1]] * 2}, "p.yaml: images: context: 1 and several windows want more"),
        ({"frames": None}, "p.yaml: images.frames: "),
    ],
)
def test_a_wrong_window_is_refused_by_its_key(changes, message):
    with pytest.raises(InputError, match=message):
        params.validated(params.Decoding, VOLUMES | changes, "p.yaml", "images")


def test_slices_and_windows_are_not_equalised_as_colours(tmp_path):
    def change(values):
        values["tasks"]["chest"]["decoding"] |= {"window": [[40, 80], [-600, 1500]]}

    with pytest.raises(InputError, match=r"prepare\.chest-256-equalised\.equalise: true, but channels are slices or"):
        load_changed(tmp_path, change)
