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
