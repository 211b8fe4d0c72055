"""The real DAG, run once for all tests of this folder."""

import shutil
import subprocess

import pytest
from small_project import REPOSITORY, Project, shrink


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """After one whole `dvc repro`, committed."""
    project = Project(tmp_path_factory.mktemp("pipeline") / "medpipe")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith(("reports/", "metrics/")) and name != "dvc.lock":
            (project.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, project.root / name)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        project.run("git", "config", key, value)
    project.edit(shrink)
    project.commit("The pipeline, small")
    project.repro()
    project.commit("Its results")
    return project
