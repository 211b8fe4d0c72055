"""Tiny archives by hand: a dict of file names and bytes, written as a folder or as a zip."""

import os
import shutil
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from declared import own_task
from PIL import Image

from medpipe.data.ingest import build_manifest
from medpipe.params import Ingest

SETTINGS = Ingest(max_quarantined=0.5, max_pixels=10_000)
LENIENT = Ingest(max_quarantined=0.9, max_pixels=1_000_000)


def noise(seed, mode="RGB", size=(24, 18)):
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode)


def encode(image, kind="PNG", **options):
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(name="noise")
def _noise():
    """noise(seed, mode, size): an image of uniform noise."""
    return noise


@pytest.fixture(name="encode")
def _encode():
    """encode(image, kind, **options): the file's bytes."""
    return encode


@pytest.fixture
def settings():
    """Half of the images may be damaged: these archives hold few."""
    return SETTINGS


@pytest.fixture
def folder(tmp_path):
    """folder(files): a folder with these files and no others."""

    def write(files, name="archive"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        for file, data in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return tmp_path / name

    return write


@pytest.fixture
def zipped(tmp_path):
    """zipped(files): a zip with these files."""

    def write(files, name="archive.zip"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for file, data in files.items():
                archive.writestr(file, data)
        return path

    return write


@pytest.fixture(scope="session")
def real():
    """The folder of the real data sets; the test is skipped where there is none."""
    if not os.environ.get("MEDPIPE_REAL_DATA"):
        pytest.skip("MEDPIPE_REAL_DATA names no folder")
    return Path(os.environ["MEDPIPE_REAL_DATA"])


@pytest.fixture
def real_settings():
    """As data.yaml has them."""
    return Ingest(max_quarantined=0.05, max_pixels=89_000_000)


@pytest.fixture(scope="session")
def damaged_images():
    """Bytes under an image's name that give no usable image (of at most SETTINGS.max_pixels), by the reason."""
    good = noise(99)
    deep = Image.fromarray(np.arange(432, dtype=np.uint16).reshape(18, 24))
    header = b"IHDR" + (50_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\r" + header + zlib.crc32(header).to_bytes(4, "big") + encode(good)[33:]
    return {
        "empty file": b"",
        "no image: none of": b"<html>404</html>",
        "no image: none of JPEG": encode(good, "ICO"),
        "damaged: image file is truncated": encode(good, "JPEG")[:-100],
        "damaged: ": encode(good)[:-300],
        "colour model: I;16, 16 bits": encode(deep),
        "colour model: I;16, 16 bits;": encode(deep, "TIFF"),
        "colour model: CMYK": encode(good.convert("CMYK"), "JPEG"),
        "transparent": encode(Image.new("RGBA", (24, 18), (9, 9, 9, 100))),
        "several images": encode(good, "TIFF", save_all=True, append_images=[good]),
        "too many pixels: 101 x 100": encode(noise(98, size=(101, 100))),
        "too many pixels: Image size (2500000000": bomb,
    }


@pytest.fixture
def ingest(folder):
    """ingest(files, reader, **declaration): the manifest by id, the reasons by id, the notes."""

    def run(files, reader, **changes):
        manifest, quarantine, notes = build_manifest("t", own_task(folder(files), reader, **changes), LENIENT)
        return manifest.set_index("id"), quarantine.set_index("id")["reason"].to_dict(), " | ".join(notes)

    return run


@pytest.fixture
def pictures(encode, noise):
    """pictures(*names): files of different images."""

    def make(*names, first=0):
        return {
            name: encode(noise(i), "JPEG" if name.lower().endswith("jpg") else "PNG")
            for i, name in enumerate(names, first)
        }

    return make
