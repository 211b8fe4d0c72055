"""DVC links its cache into the workspace and into the copies in which experiments run, where the disk can."""

import hashlib
import re
from pathlib import Path

import pytest
import yaml
from small_project import Project, make, shrink_to_table

TARGETS = ("split@skin", "prepare@skin-table")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make(tmp_path_factory.mktemp("links"), shrink_to_table, *TARGETS)


def cached(project: Project) -> dict[Path, str]:
    """The objects of DVC's cache, by what they now hold."""
    files = [path for path in (project.root / ".dvc/cache/files/md5").glob("??/*") if path.is_file()]
    return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def whole(objects: dict[Path, str]) -> bool:
    return all(path.parent.name + path.name.removesuffix(".dir") == found for path, found in objects.items())


def test_a_copy_has_links_and_stages_replace_them(project):
    before = cached(project)
    project.run("dvc", "config", "--local", "cache.type", "symlink")
    project.run("dvc", "checkout", "--relink", "--allow-missing")
    links = [path for path in (project.root / "data").rglob("*") if path.is_symlink()]
    assert {path.relative_to(project.root).parts[1] for path in links} >= {"phantom", "manifest", "clean", "prepared"}

    # Every stage from ingest on reads through links and writes anew.
    project.edit(lambda params: params["ingest"].update(max_quarantined=0.5))
    assert project.repro(*TARGETS) == {"ingest@skin"}
    project.edit(lambda params: params["clean"]["skin"].update(unknown="drop"))
    assert project.repro(*TARGETS) == {"clean@skin", "split@skin", "prepare@skin-table"}
    project.run("dvc", "config", "--local", "--unset", "cache.type")
    project.run("dvc", "checkout", "--relink", "--allow-missing")

    # What a copy finds of the prepared arrays: no bytes of its own. A reflink cannot be told from a copy.
    inputs = "data/prepared/skin-table"
    peek = {"cmd": f"stat -c 'links: %h' {inputs}/inputs.npy", "deps": [inputs]}
    stages = yaml.safe_load((project.root / "dvc.yaml").read_text())
    stages["stages"]["peek"] = peek
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    project.commit("A stage that counts links")
    [count] = re.findall(r"links: (\d+)", project.run("dvc", "exp", "run", "--temp", "--name", "linked", "peek"))
    assert int(count) > 1 or re.search(r"Cache types:.*reflink", project.run("dvc", "version"))

    after = cached(project)
    assert len(after) > len(before)
    assert whole(after)
