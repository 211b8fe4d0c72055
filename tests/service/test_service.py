import asyncio
import base64
import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_service import CLASSES, free_port, picture, running, uri

from medpipe.errors import InputError
from medpipe.models import ood
from medpipe.service import run, served
from medpipe.service.batching import Batcher
from medpipe.service.metrics import Metrics
from medpipe.service.settings import Settings


def send(client, *rows):
    answer = client.post("/predict", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_answers_are_the_models(client, model, row):
    rows = [row, row | {"age": None, "sex": None}, row | {"sex": "M"}]
    expected = mlflow.pyfunc.load_model(str(model)).predict(pd.DataFrame(rows, dtype=object))
    found = send(client, *rows)
    about = client.get("/model").json()
    assert [{name: row[name] for name in expected} for row in found] == expected.to_dict("records")
    assert found[2]["error"] == "sex is 'M', must be unknown or one of: male, female"
    assert [row["error"] for row in found[:2]] == [None, None]
    for row in found:
        assert (row["model"], row["version"], row["sha256"]) == ("skin-early", None, about["sha256"])


def test_a_form_gives_the_same_as_json(client, row):
    files = [("image", ("a.png", base64.b64decode(row["image"].partition(",")[2]))), ("image", ("b.png", b"x"))]
    answer = client.post("/predict", files=files, data={"age": ["45", ""], "sex": ["male", "female"]})
    first, second = answer.json()["rows"]
    assert first == send(client, row)[0]
    assert second["error"].startswith("image: no image")
    data = {"age": ["45", ""], "sex": ["male", "female"], "case": ["P1", ""]}
    named = client.post("/predict", files=files, data=data).json()["rows"]
    assert named[0] == first
    assert named[1]["error"] == "case is no text; leave it out where it is unknown"


def test_the_example_of_openapi_works(client):
    described = client.get("/openapi.json").json()
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    [answered] = send(client, *body["rows"])
    assert answered["error"] is None
    schema = described["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(answered) == set(schema["properties"]["rows"]["items"]["properties"])
    body = described["paths"]["/explain"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/explain", json=body).json()["class"] == answered["label"]


def test_a_request_keeps_its_id_or_gets_one(client, row):
    assert client.get("/health", headers={"X-Request-ID": "study-7.a_b"}).headers["x-request-id"] == "study-7.a_b"
    assert re.fullmatch("[0-9a-f]{32}", client.get("/health").headers["x-request-id"])
    wrong = client.post("/predict", json=[], headers={"X-Request-ID": "mine"})
    assert wrong.json()["request"] == wrong.headers["x-request-id"] == "mine"


def test_prometheus_reads_what_happened(client, row):
    def counted(name):
        return float(re.search(rf"^{name} (.*)$", client.get("/metrics").text, re.MULTILINE)[1])

    names = [r'medpipe_rows_total\{outcome="answered"\}', r'medpipe_rows_total\{outcome="wrong"\}']
    names += [r'medpipe_requests_total\{path="/predict",status="200"\}', "medpipe_batch_rows_sum"]
    send(client, row, row | {"age": "old"})
    before = [counted(name) for name in names]
    send(client, row, row | {"age": "old"}, row | {"age": [1]})
    assert [counted(name) - start for name, start in zip(names, before, strict=True)] == [1, 2, 1, 2]


def test_a_heat_map_shows_what_speaks_for_the_class(client, row):
    """The class's probability grows with the image's green and falls with its red; the left half is green."""
    image = Image.new("RGB", (48, 32), (255, 0, 0))
    image.paste((0, 255, 0), (0, 0, 24, 32))
    image.save(buffer := BytesIO(), "PNG")
    said = {name: client.post("/explain", json={"row": row | {"image": uri(buffer.getvalue())}, "class": name}).json()
            for name in CLASSES}  # fmt: skip
    maps = {}
    for name, found in said.items():
        assert found["class"] == name
        heat, over = (
            Image.open(BytesIO(base64.b64decode(found[key].partition(",")[2]))) for key in ("heat", "overlay")
        )
        assert heat.size == over.size == (48, 32)
        assert (heat.mode, over.mode) == ("L", "RGB")
        maps[name] = np.asarray(heat, float)
    assert said["mel"]["probability"] + said["nv"]["probability"] == pytest.approx(1)
    assert np.corrcoef(maps["mel"].ravel(), maps["nv"].ravel())[0, 1] < -0.99
    assert abs(maps["mel"][:, :20].mean() - maps["mel"][:, 28:].mean()) > 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "covid"}, "class: 'covid' is none of mel, nv"),
        ({"class": 3}, "class: a text wanted"),
        ({"row": {"image": "/etc/passwd", "age": 1, "sex": "male"}}, "row: image: '/etc/passwd' is no data URI"),
        ({"row": {"age": 1}}, "row: image is not there"),
        ({"rows": []}, "and nothing else"),
    ],
)
def test_a_heat_map_that_cannot_be_made_says_why(client, row, change, message):
    answer = client.post("/explain", json={"row": row} | change)
    assert answer.status_code == 422
    assert message in answer.json()["error"]


def test_a_form_is_no_case_of_a_heat_map(client):
    answer = client.post("/explain", files={"image": b"x"})
    assert answer.status_code == 415
    assert "application/json wanted" in answer.json()["error"]


@pytest.fixture(scope="module")
def loaded(model):
    return served.load(served.find(str(model)))


def test_rows_of_many_requests_go_through_the_model_together(loaded, settings, row):
    """And each request gets its own answers back, whatever is beside it."""
    sizes, predict = [], loaded.predict

    class Counted(served.Served):
        def predict(self, cases):
            sizes.append(len(cases))
            time.sleep(0.02)
            return predict(cases)

    async def all_at_once():
        counted = Counted(**{name: getattr(loaded, name) for name in loaded.__dataclass_fields__})
        batcher = Batcher(counted, replace(settings, max_batch=16), Metrics())
        ages = [[age, "old"][: 1 + age % 2] for age in range(40)]
        jobs = [batcher.answer([row | {"age": age} for age in some]) for some in ages]
        answers = await asyncio.gather(*jobs)
        await batcher.close()
        return ages, answers

    ages, answers = asyncio.run(all_at_once())
    assert sum(sizes) == 60
    assert max(sizes) <= 17
    assert len(sizes) <= 6
    for some, (_, table) in zip(ages, answers, strict=True):
        alone = predict(pd.DataFrame([row | {"age": age} for age in some], dtype=object))
        pd.testing.assert_frame_equal(table.reset_index(drop=True), alone, check_dtype=False, rtol=1e-5)


def test_a_request_that_breaks_the_model_breaks_no_other(loaded, settings, row):
    predict = loaded.predict

    class Breaking(served.Served):
        def predict(self, cases):
            if "break" in set(cases["sex"]):
                raise RuntimeError("broken")
            return predict(cases)

    async def three():
        breaking = Breaking(**{name: getattr(loaded, name) for name in loaded.__dataclass_fields__})
        batcher = Batcher(breaking, settings, Metrics())
        jobs = [batcher.answer([row | {"sex": sex}]) for sex in ("male", "break", "female")]
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        alive = batcher.alive
        await batcher.close()
        return answers, alive

    (first, second, third), alive = asyncio.run(three())
    assert alive
    assert isinstance(second, RuntimeError)
    assert [found[1]["error"].tolist() for found in (first, third)] == [[None], [None]]


def test_a_row_for_a_model_that_was_replaced_by_one_of_other_fields_is_told(loaded, settings, row):
    async def one():
        batcher = Batcher(loaded, settings, Metrics())
        answers = await asyncio.gather(
            batcher.answer([row]), batcher.answer([{"image": row["image"]}]), return_exceptions=True
        )
        await batcher.close()
        return answers

    (_, table), refused = asyncio.run(one())
    assert table["error"].tolist() == [None]
    assert refused.status == 503


def test_a_service_that_stops_answers_what_it_has_begun(settings, row):
    settings = replace(settings, port=free_port(), max_wait=1.0)  # so that the requests are queued when it stops
    address = f"http://127.0.0.1:{settings.port}"
    with running(settings) as server, httpx.Client(base_url=address) as client, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(send, client, row) for _ in range(4)]
        until(lambda: len(server.server_state.tasks) == len(answers))
        server.should_exit = True
        assert all(answer.result()[0]["error"] is None for answer in answers)


def test_a_model_that_is_none_is_named(tmp_path, model, monkeypatch):
    with pytest.raises(InputError, match="nowhere: cannot be loaded"):
        run.server(Settings(str(tmp_path / "nowhere")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI is not set"):
        run.server(Settings("models:/skin-classifier@champion"))
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def registry(root, monkeypatch):
    """A function that registers a package and lets the alias champion point at it."""
    from medpipe import store

    client = store.connect()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None, raising=False)
    client.create_registered_model("skin-classifier")

    def register(package):
        version = client.create_model_version("skin-classifier", str(package)).version
        client.set_registered_model_alias("skin-classifier", "champion", version)
        return str(version)

    return register


def test_the_alias_is_followed_without_losing_a_request(registry, package, model, row, settings):
    registry(model)
    uri = "models:/skin-classifier@champion"
    settings = replace(settings, model=uri, port=free_port(), poll_seconds=0.1)
    answers, stop = [], threading.Event()
    with running(settings), httpx.Client(base_url=f"http://127.0.0.1:{settings.port}") as client:

        def ask():
            while not stop.is_set():
                answers.append(send(client, row)[0])

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            try:
                until(lambda: len(answers) >= 4)
                registry(package("skin-other", bias=5.0))
                until(lambda: client.get("/model").json()["version"] == "2")
                before = len(answers)
                until(lambda: len(answers) >= before + 8)  # more than were under way
            finally:
                stop.set()
            assert [one.result() for one in asking] == [None] * 4
        assert 'medpipe_model{model="skin-classifier",sha256=' in client.get("/metrics").text
        assert 'version="1"' not in client.get("/metrics").text
    by = {answer["version"]: answer for answer in answers}
    assert set(by) == {"1", "2"}
    assert by["1"]["sha256"] != by["2"]["sha256"]
    assert {answer["model"] for answer in answers} == {"skin-classifier"}
    assert by["2"][CLASSES[0]] > 0.9 > by["1"][CLASSES[0]]
    assert all(answer["error"] is None for answer in answers)


def test_the_log_holds_the_embedding_that_was_scored(model, settings, tmp_path, row):
    """The mean colour, and a hundredth of age and sex: see the fixture `package`. What is answered has none."""
    settings = replace(settings, port=free_port(), log=tmp_path / "log")
    with running(settings), httpx.Client(base_url=f"http://127.0.0.1:{settings.port}") as client:
        other = row | {"image": uri(picture(40)), "sex": None, "case": "Patient 7"}
        answers = send(
            client, row, row | {"age": "old"}, {"image": 1}, other, other | {"case": 7}, other | {"case": ""}
        )
    assert all("embedding" not in answer for answer in answers)
    assert [answer["error"] for answer in answers[4:]] == ["case is no text; leave it out where it is unknown"] * 2
    table = pd.concat(map(pd.read_parquet, settings.log.iterdir()))
    assert table["row"].tolist() == [0, 3]
    assert table["case"].fillna("").tolist() == ["", hashlib.sha256(b"Patient 7").hexdigest()]  # nobody's name
    expected = [[200 / 255, 0, 55 / 255, 0.45, 0.01, 0, 0], [40 / 255, 0, 215 / 255, 0.45, 0, 0, 0.01]]
    np.testing.assert_allclose(np.stack(table["embedding"]), expected, rtol=1e-6)
    assert {values.dtype for values in table["embedding"]} == {np.dtype(np.float32)}
    [data] = (model / "data").iterdir()
    np.testing.assert_array_equal(ood.read(data / ood.FILE).score(np.stack(table["embedding"])), table["ood"])


def test_masks_come_as_pngs(deliver, tmp_path, settings):
    import keras
    from keras import layers
    from small_service import PIXELS, VARIANT

    from medpipe.serving import package

    inputs = keras.Input((16, 16, 3))
    net = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(inputs))
    about = {"classes": ("healthy", "tumour"), "variants": (VARIANT | {"task": "brain"},), "features": ((),)}
    folder = deliver(tmp_path / "brain-resunet", net, task="brain", kind="segmenter", **about)
    package.save(folder, tmp_path / "packed", PIXELS, {"flips": [], "temperature": None, "rule": None})
    settings = replace(settings, model=str(tmp_path / "packed"), port=free_port(), log=tmp_path / "log")
    with running(settings), httpx.Client(base_url=f"http://127.0.0.1:{settings.port}") as client:
        [found] = send(client, {"image": uri(picture(1, (20, 10)))})
    header, _, body = found["mask"].partition(",")
    assert header == "data:image/png;base64"
    assert Image.open(BytesIO(base64.b64decode(body))).size == (20, 10)
    assert isinstance(found["tumour"], bool)
    [file] = settings.log.iterdir()
    assert pd.read_parquet(file)["embedding"].tolist() == [None]
