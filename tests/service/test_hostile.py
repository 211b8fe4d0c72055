"""Whatever is sent: a 4xx that says what is wrong, or an error of the row; the service stays up and small."""

import json
import os
import re
import socket
import tempfile

import httpx
import psutil
import pytest
from hostile_files import files
from hostile_requests import bodies, raw, values
from small_service import picture, uri

SOUND = json.dumps({"image": uri(picture(200)), "age": 45, "sex": "male"})
FILES, VALUES, BODIES, RAW = list(files()), list(values()), list(bodies()), list(raw())


@pytest.fixture(scope="module", autouse=True)
def stays_up(client, tmp_path_factory):
    """Afterwards the service answers as before, has not grown, and has written nothing."""
    empty, process = tmp_path_factory.mktemp("empty"), psutil.Process()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(empty))
        patch.chdir(empty)
        before, size = predicted(client, [SOUND]), process.memory_info().rss
        yield
        assert predicted(client, [SOUND]) == before
        assert process.memory_info().rss - size < 200 * 2**20
        assert not [*empty.iterdir()]
        assert "medpipe_requests_running 1.0" in client.get("/metrics").text  # this one
        assert "medpipe_held_bytes 0.0" in client.get("/metrics").text
        assert 'status="500"' not in client.get("/metrics").text


def predicted(client, rows):
    body = f'{{"rows": [{", ".join(rows)}]}}'
    answer = client.post("/predict", content=body.encode(), headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def test_there_are_200():
    assert len(FILES) + len(VALUES) + len(BODIES) + len(RAW) >= 200


def check(rows, said):
    """The first row is answered; the second has this error."""
    sound, row = rows
    assert sound["error"] is None
    assert sound["mel"] + sound["nv"] == pytest.approx(1)
    if said is not None:
        assert re.search(said, row["error"]), row["error"]
    assert (row["error"] is None) == (row["label"] is not None)
    assert len(row["error"] or "") < 500
    assert {row["row"], row["model"], row["version"]} == {1, "skin-early", None}


@pytest.mark.parametrize(("name", "data", "said"), FILES, ids=[case[0] for case in FILES])
def test_a_file_is_an_error_of_its_row(client, name, data, said):
    form = {
        "files": [("image", ("x.png", file)) for file in (picture(200), data)],
        "data": {"age": ["45"] * 2, "sex": ["male"] * 2},
    }
    answer = client.post("/predict", **form)
    assert answer.status_code == 200, answer.text
    check(answer.json()["rows"], said)


@pytest.mark.parametrize(("name", "row", "said"), VALUES, ids=[case[0] for case in VALUES])
def test_a_value_is_an_error_of_its_row(client, name, row, said):
    check(predicted(client, [SOUND, row]), said)


@pytest.mark.parametrize(("name", "kind", "body", "status", "said"), BODIES, ids=[case[0] for case in BODIES])
def test_a_body_is_refused_with_the_reason(client, name, kind, body, status, said):
    answer = client.post("/predict", content=body, headers={"content-type": kind})
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    assert re.search(said, answer.json()["error"]), answer.text
    assert answer.json()["request"] == answer.headers["x-request-id"]


def test_a_body_without_end_is_refused_while_it_comes(client):
    def endless():
        for _ in range(50):
            yield bytes(2**20)

    answer = client.post("/predict", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize(("name", "data", "statuses"), RAW, ids=[case[0] for case in RAW])
def test_what_is_no_request_gets_a_4xx(service, settings, name, data, statuses):
    with socket.create_connection(("127.0.0.1", settings.port), timeout=5) as opened:
        opened.sendall(data)
        head = opened.recv(4096)
    status = int(head.split()[1]) if head else None
    assert status in statuses, head
    assert b"root:" not in head


@pytest.mark.parametrize("sent", ["a" * 65, "a b", "<script>", "é".encode()])
def test_a_request_id_that_could_harm_a_log_is_replaced(client, sent):
    answer = client.get("/health", headers={"X-Request-ID": sent})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_many_slow_clients_hold_nobody_up(client, settings):
    opened = [socket.create_connection(("127.0.0.1", settings.port)) for _ in range(100)]
    for one in opened:
        one.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
    with httpx.Client(base_url=client.base_url) as other:
        assert predicted(other, [SOUND])[0]["error"] is None
    for one in opened:
        one.settimeout(5)
        assert one.recv(100).startswith(b"HTTP/1.1 408")
        one.close()


def test_nothing_is_read_of_this_machine(client, tmp_path):
    (tmp_path / "secret.png").write_bytes(picture(9))
    row = json.dumps({"image": str(tmp_path / "secret.png"), "age": 45, "sex": "male"})
    assert "is no data URI" in predicted(client, [row])[0]["error"]
    os.mkfifo(tmp_path / "pipe")
    assert "is no data URI" in predicted(client, [row.replace("secret.png", "pipe")])[0]["error"]
