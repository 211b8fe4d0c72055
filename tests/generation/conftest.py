import pytest

from medpipe import backend


@pytest.fixture(autouse=True)
def _seeded():
    backend.start(0, "float32")
