"""The app in a real browser, by `python -m medpipe.app` as `make app` starts it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from tiny_models import BLUE, RED, picture

from medpipe.app.models import MAX_MEBIBYTES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60  # that anything may take on a busy machine

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def app(registry, tmp_path_factory):
    """The app's address, and the folder of its temporary files."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    scratch = tmp_path_factory.mktemp("scratch")
    known = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "TMPDIR")}
    command = [sys.executable, "-m", "medpipe.app", f"--server.port={port}"]
    address = f"http://127.0.0.1:{port}"
    with (scratch.parent / "app.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=registry, env=known | {"TMPDIR": str(scratch)}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(process, f"{address}/_stcore/health")
            yield address, scratch
        finally:
            process.terminate()
            process.wait(SECONDS)


def _wait(process, address):
    until = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=SECONDS):
                return
        except urllib.error.URLError:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser, address, **settings):
    """A page of a user of their own; it must leave no error on the console."""
    context = browser.new_context(**settings)
    context.set_default_timeout(SECONDS * 1000)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.locator("input[type=file]").wait_for(state="attached")
    yield page
    assert wrong == []
    context.close()


def file(name, data):
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def upload(page, *files):
    page.locator("input[type=file]").set_input_files([file(name, data) for name, data in files])


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def test_upload_answer_and_heat_map(app, browser, registry, tmp_path):
    address, scratch = app
    huge = tmp_path / "huge.png"
    huge.write_bytes(b"\0" * (MAX_MEBIBYTES * 2**20 + 1))
    with opened(browser, address, viewport={"width": 1280, "height": 1600}) as page:
        before = files(registry)
        start = time.perf_counter()
        upload(page, ("red <b>.png", RED))
        page.get_by_text("100.0 %").first.wait_for()
        print(f"from upload to answer: {time.perf_counter() - start:.2f} s")
        page.get_by_role("heading", name="red <b>.png").wait_for()
        page.get_by_text("Outlined: tumour").wait_for()
        page.get_by_role("button", name="Heat map", exact=True).click()
        page.get_by_text("Yellow: raises the probability of tumour").wait_for()
        page.get_by_role("slider", name="Opacity of the heat map").press("ArrowRight")
        upload(page, ("broken.jpg", b"nothing"), ("bomb.png", picture((9, 9, 9), (6000, 5000))), ("blue.png", BLUE))
        page.get_by_text("Nothing is outlined.").wait_for()
        page.get_by_text("No answer: image: no image").wait_for()
        page.get_by_text("No answer: image: too many pixels: 6000 x 5000").wait_for()
        page.locator("input[type=file]").set_input_files(str(huge))
        page.get_by_text(f"{MAX_MEBIBYTES}.0MB or smaller").wait_for()
        assert page.get_by_text("Outlined: tumour").is_visible()  # the others keep their answers
        assert page.get_by_role("heading", name="huge.png").count() == 0
        assert files(registry) == before
    assert not [path for path in files(scratch) if path.suffix in (".png", ".jpg", ".jpeg") or RED in path.read_bytes()]


def test_two_users_at_once_and_a_narrow_screen_in_spanish(app, browser):
    address, _ = app
    narrow = {"viewport": {"width": 390, "height": 1600}, "locale": "es-ES"}
    with opened(browser, address) as first, opened(browser, address, **narrow) as second:
        second.get_by_text("no un producto sanitario").wait_for()
        upload(first, ("red.png", RED))
        upload(second, ("blue.png", BLUE))
        second.get_by_text("No se delimita nada.").wait_for()
        first.get_by_text("Outlined: tumour").wait_for()
        assert first.get_by_text("blue.png").count() == second.get_by_text("red.png").count() == 0
        assert second.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
