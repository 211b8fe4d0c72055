"""What the service's tests send, and to what."""

import base64
import socket
import threading
import time
from contextlib import contextmanager
from io import BytesIO

from declared import EIGHT_BIT
from PIL import Image

from medpipe.service import run

CLASSES = ("mel", "nv")
SIDE = 16
PIXELS = 10_000  # of an image that the package takes, at most
VARIANT = {"task": "skin", "kind": "images", "square": False, "sizes": (SIDE,), "equalise": False}
VARIANT |= {"decoding": EIGHT_BIT.model_dump(), "mask_values": None}
TABLE = {
    "task": "skin",
    "kind": "table",
    "features": {"age": {"range": (0, 120), "bands": ()}, "sex": {"values": ("male", "female")}},
}
COLUMNS = ("age", "sex_male", "sex_female", "sex_unknown")


def picture(value, size=(20, 16), kind="PNG"):
    """A file of one colour."""
    Image.new("RGB", size, (value, 0, 255 - value)).save(buffer := BytesIO(), kind)
    return buffer.getvalue()


def uri(data):
    return "data:image/png;base64," + base64.b64encode(data).decode()


def running(settings):
    """The service in a thread."""
    return in_thread(run.server(settings))


@contextmanager
def in_thread(server):
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
