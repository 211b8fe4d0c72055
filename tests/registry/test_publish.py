from pathlib import Path

import mlflow
import numpy as np
import pytest
from outputs import PIXELS, places

from medpipe import tracking
from medpipe.errors import InputError
from medpipe.models import network
from medpipe.registry import stored as store
from medpipe.registry.publish import publish
from medpipe.registry.restore import restore


def test_a_run_gets_the_evaluation_and_the_model(train, stored):
    run = train("skin-b4", 0.61)
    found = stored()["skin-b4"]
    assert found["curves"] == {"epoch/loss": [(0, 0.7), (1, 0.6)], "test/macro_f1": [(0, 0.61)]}
    assert found["artifacts"] == ["plots/roc.png", "predictions/skin-b4.parquet", "report/skin-b4.json"]
    [(name, params, tags, metrics)] = found["models"]
    assert (name, params, tags["medpipe.run"], metrics) == (
        "skin-b4",
        {"lr": "0.1"},
        run.key,
        [("test/macro_f1", 0.61)],
    )


def test_publishing_again_changes_nothing(train, stored, root):
    train("skin-b4")
    before = stored()
    publish(tracking.reopen(root / "models/skin-b4"), **places(root, "skin-b4"), max_pixels=PIXELS)
    assert stored() == before


@pytest.mark.parametrize("call", ["create_logged_model", "log_model_artifacts", "finalize_logged_model"])
def test_a_publishing_that_was_killed_is_completed(train, stored, root, monkeypatch, call):
    from mlflow import MlflowClient

    real = getattr(MlflowClient, call)

    def killed_after(*arguments, **named):
        real(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, killed_after)
        with pytest.raises(KeyboardInterrupt):
            train("skin-b4")
    run = tracking.reopen(root / "models/skin-b4")
    publish(run, **places(root, "skin-b4"), max_pixels=PIXELS)
    [model] = run.client.search_logged_models([run.client.get_run(run.run_id).info.experiment_id])
    assert model.status == "READY"
    assert [output.model_id for output in run.client.get_run(run.run_id).outputs.model_outputs] == [model.model_id]
    assert len(stored()["skin-b4"]["models"]) == 1


def test_a_fusions_package_is_its_members_files_and_answers(train, root):
    members = ("skin-b4", "skin-v2m")
    for name in members:
        train(name)
    run = train("skin-mean", members=members)
    [model] = run.client.search_logged_models(
        [run.client.get_run(run.run_id).info.experiment_id], f"source_run_id = '{run.run_id}'"
    )
    package = Path(model.artifact_location.removeprefix("file://"))
    data = package / "data/skin-mean"
    for member in members:
        assert (data / f"{member}.onnx").samefile(root / f"predictions/skin/{member}.onnx")
        assert (data / f"members/{member}/model.keras").samefile(root / f"models/{member}/model.keras")

    example = mlflow.pyfunc.load_model(str(package))
    answers = [example.predict(example.input_example)]
    for member in members:
        [alone] = Path(root, "mlartifacts/skin/models").glob(f"*/artifacts/data/{member}")
        answers.append(mlflow.pyfunc.load_model(str(alone.parents[1])).predict(example.input_example))
    mean, *parts = (answer[["mel", "nv"]].to_numpy() for answer in answers)
    np.testing.assert_allclose(mean, np.mean(parts, axis=0), atol=1e-6)
    images = np.zeros((1, 8, 8, 3), np.float32)
    same = [np.asarray(network.read(folder)[1](images)) for folder in (data, root / "models/skin-mean")]
    assert np.array_equal(*same)

    for lost in ("skin-b4.onnx", "members/skin-v2m/model.keras"):
        (data / lost).unlink()
        assert not store.whole(run.client, model)
        with pytest.raises(ValueError, match=f"data/skin-mean/{lost} is not here"):
            mlflow.pyfunc.load_model(str(package))
        list(restore(root, PIXELS))
        assert store.whole(run.client, model)


def test_a_fusion_that_was_evaluated_with_another_member_is_not_published(train, root):
    for name in ("skin-b4", "skin-v2m"):
        train(name)
    train("skin-mean", members=("skin-b4", "skin-v2m"))
    member = root / "predictions/skin/skin-b4.onnx"
    member.unlink()  # as DVC does, and does not write to it
    member.write_bytes((root / "predictions/skin/skin-v2m.onnx").read_bytes())
    said = "skin-mean.onnx reads weights from skin-b4.onnx beside it, which has other bytes"
    with pytest.raises(InputError, match=said):
        publish(tracking.reopen(root / "models/skin-mean"), **places(root, "skin-mean"), max_pixels=PIXELS)
    *others, last = restore(root, PIXELS)
    assert others == ["skin-b4: run, evaluation, model", "skin-v2m: run, evaluation, model"]
    assert last.startswith("skin-mean: run; ")
    assert said in last
