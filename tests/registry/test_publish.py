import pytest
from outputs import PIXELS, places

from medpipe import tracking
from medpipe.registry.publish import publish


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
