"""A fusion's folder and its ONNX file: they hold their members' bytes, and answer as the members do together."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import pandas as pd
import pytest
from keras import layers
from small_models import SIDE, SMALL, STATS, batch, pixels

from medpipe import tracking
from medpipe.errors import InputError
from medpipe.models import cascade, delivery, external, fusion, network
from medpipe.models.build import build
from medpipe.models.embedding import observed
from medpipe.models.export import export
from medpipe.models.mean import mean
from medpipe.serving.session import Session
from medpipe.training import run

IMAGE = {"variants": ({"task": "skin", "kind": "images"},), "features": ((),)}
TABLE = {"variants": ({"task": "skin", "kind": "table"},), "features": (("age", "sex_male"),)}


def segmenter():
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


MEMBERS = {
    "tabular": (lambda: build(SMALL["mlp"], (2,), 3, STATS), TABLE),
    "image": (lambda: build(SMALL["convnet"], (SIDE, SIDE, 3), 3, STATS), IMAGE),
    "segmenter": (segmenter, IMAGE),
}


@pytest.fixture
def train(deliver, tmp_path, monkeypatch):
    """A function that delivers members, evaluated, and returns their models as they are read."""
    monkeypatch.chdir(tmp_path)
    Path("predictions").mkdir()

    def train(*names):
        for name in names:
            make, about = MEMBERS[name]
            deliver(Path("models") / name, make(), classes=("mel", "nv", "vasc"), **about)
            export_to(name)
        return [network.read(Path("models") / name)[1] for name in names]

    return train


def fuse(name, kind, members, head=None):
    """Leave what fuse leaves of members, {name: weight}."""
    parts = [delivery.read_recipe(Path("models") / member) for member in members]
    settings = {"kind": kind, "members": {member: {"weight": weight} for member, weight in members.items()}}
    inputs = tuple(key for part in parts for key in part.inputs)
    made = replace(parts[0], name=name, inputs=inputs, settings=settings)
    run.deliver(tracking.Run(None, "", {"key": name}), made, head, pd.DataFrame())


def export_to(name, *members):
    """Leave the ONNX file that evaluate leaves; returns what it would be alone."""
    _, model = network.read(Path("models") / name)
    graph, place = export(observed(model) or model), Path("predictions") / f"{name}.onnx"
    place.write_bytes(external.refer(graph, [place.with_name(f"{member}.onnx") for member in members]))
    return graph


def make(kind, train):
    """Leaves the fusion `fused`; returns the model that it is, its members' names and inputs."""
    if kind == "cascade":
        models, names, inputs = train("image", "segmenter"), ("image", "segmenter"), [pixels()]
        fuse("fused", kind, dict.fromkeys(names))
        return cascade.compose(*models), names, inputs
    models, names, inputs = train("tabular", "image"), ("tabular", "image"), [batch("mlp")[0], pixels()]
    if kind == "mean":
        fuse("fused", kind, {"tabular": 0.3, "image": 0.7})
        return mean(models, ["table", "image"], [0.3, 0.7]), names, inputs
    at = "embedding" if kind == "early" else "output"
    head = getattr(fusion, kind)(models, 3, (64,))
    fuse("fused", kind, dict.fromkeys(names), head)
    return fusion.compose(models, head, at), names, inputs


def same(one, other, inputs):
    """Whether two models give the same outputs, to the bit."""
    x = inputs if len(inputs) > 1 else inputs[0]
    run = "predict_on_batch" if isinstance(one, Session) else "__call__"  # which traces nothing
    both = [keras.tree.flatten(keras.tree.map_structure(np.asarray, getattr(model, run)(x))) for model in (one, other)]
    return all(np.array_equal(*pair) for pair in zip(*both, strict=True))


@pytest.mark.parametrize("kind", ["late", "early", "mean", "cascade"])
def test_a_fusion_is_its_members_files(train, kind):
    model, members, inputs = make(kind, train)
    assert same(network.read(Path("models/fused"))[1], model, inputs)
    for member in members:
        for file in (delivery.KERAS, delivery.RECIPE):
            assert Path("models/fused/members", member, file).samefile(Path("models", member, file))
    others = {path.name for path in Path("models/fused").iterdir()} - {"members", "recipe.json", tracking.RECORD}
    assert others == ({"head.keras"} if kind in ("late", "early") else set())

    alone, graph = export_to("fused", *members), Path("predictions/fused.onnx")
    assert external.referred(graph) == [graph.with_name(f"{member}.onnx") for member in sorted(members)]
    held = [tensor for tensor in onnx.load(graph, load_external_data=False).graph.initializer if tensor.raw_data]
    large = [tensor for tensor in held if len(tensor.raw_data) >= external.LEAST]
    assert len(large) == (kind in ("late", "early"))  # of the head
    assert same(Session(graph), Session(alone), inputs)


def test_a_mean_of_a_fusion_reads_the_files_that_the_fusion_reads(train):
    _, members, inputs = make("early", train)
    export_to("fused", *members)
    fuse("mean", "mean", {"image": 0.25, "fused": 0.75})
    one, two = (network.read(Path("models") / name)[1] for name in ("image", "fused"))
    expected = mean([one, two], ["image", "table", "image"], [0.25, 0.75])
    both = [inputs[1], inputs[0]]
    assert same(network.read(Path("models/mean"))[1], expected, both)
    nested = Path("models/mean/members/fused/members/image/model.keras")
    assert nested.samefile("models/image/model.keras")

    alone, graph = export_to("mean", "image", "fused"), Path("predictions/mean.onnx")
    names = ("fused", "image", "tabular")  # the first has the head
    assert external.referred(graph) == [graph.with_name(f"{name}.onnx") for name in names]
    held = [tensor for tensor in onnx.load(graph, load_external_data=False).graph.initializer if tensor.raw_data]
    assert max(len(tensor.raw_data) for tensor in held) < external.LEAST
    assert same(Session(graph), Session(alone), both)


def test_a_member_of_other_bytes_or_none_is_refused(train):
    make("mean", train)
    export_to("fused", "tabular", "image")
    graph, member = Path("predictions/fused.onnx"), Path("predictions/image.onnx")
    other = bytearray(member.read_bytes())
    other[-1] ^= 1
    member.write_bytes(other)
    with pytest.raises(InputError, match=r"fused\.onnx reads weights from image\.onnx .* other bytes .*`dvc repro`"):
        external.referred(graph)
    member.unlink()
    with pytest.raises(InputError, match=r"predictions/image\.onnx: not here; .*`dvc checkout`"):
        external.referred(graph)
    with pytest.raises(InputError, match=r"fused\.onnx: damaged .*External data path does not exist"):
        Session(graph)


def test_a_fusion_without_a_members_file_is_refused(train):
    make("late", train)
    for lost, file in (("head.keras", "head.keras"), ("members/image/model.keras", "image: no delivered model")):
        path = Path("models/fused", lost)
        content = path.read_bytes()
        path.unlink()
        for look in (network.read, delivery.files):
            with pytest.raises(InputError, match=file):
                look(Path("models/fused"))
        path.write_bytes(content)
