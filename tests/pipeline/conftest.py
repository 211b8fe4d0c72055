import pytest
from small_project import Project, make, shrink


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The real DAG, run once for all tests of this folder that do not say otherwise."""
    return make(tmp_path_factory.mktemp("pipeline"), shrink)
