import importlib.util
from pathlib import Path

import httpx
import mlflow
import uvicorn
from small_service import free_port, in_thread, picture

EXAMPLE = Path(__file__).parents[2] / "examples/triage.py"


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 60


def test_the_example_answers_by_the_registered_model(root, model, monkeypatch):
    from medpipe import store

    client = store.connect()
    client.create_registered_model("skin-classifier")
    client.create_model_version("skin-classifier", str(model))
    client.set_registered_model_alias("skin-classifier", "champion", "1")
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    spec = importlib.util.spec_from_file_location("triage", EXAMPLE)
    triage = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(triage)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(triage.app, port=port, log_level="warning"))
    with in_thread(server), httpx.Client(base_url=f"http://127.0.0.1:{port}") as service:
        found = service.post("/triage", files={"photo": picture(90)}, data={"age": "45", "sex": "male"}).json()
        assert found["queue"] in ("first", "look", "wait")
        assert 0 < found["melanoma"] < 1
        assert 0 < found["ood"] <= 1
        wrong = service.post("/triage", files={"photo": b"x"}, data={"age": "old"})
        assert wrong.status_code == 422
        assert wrong.json()["detail"].startswith("age is 'old', must be a number")
        monkeypatch.setattr(triage, "LARGEST", 10)
        assert service.post("/triage", files={"photo": picture(90)}).status_code == 413
