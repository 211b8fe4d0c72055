import pytest

from medpipe import backend


@pytest.fixture
def _seeded():
    backend.start(0, "float32")
