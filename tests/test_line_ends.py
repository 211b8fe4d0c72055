"""A clone with `core.autocrlf=true`, as git for Windows sets it, holds the bytes that were committed."""

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml

from medpipe.studies.copies import git
from medpipe.verification import figures, hashes

REPOSITORY = Path(__file__).parents[1]
CRLF = ("-c", "core.autocrlf=true")
WRITTEN = {
    "metrics/skin/skin-b4.json": b'{\n "f1": 0.5\n}\n',
    "reports/skin/card.md": b"# A card\n\nF1 0.61\n",
    "reports/skin/quarantine.csv": b'path,reason\n"a\r\nb",corrupt\n',  # a name of a file may hold any line end
}
OTHERS = {
    "params.yaml": b"seed: 42\n",
    "src/page.j2": b"<p>\n</p>\n",
    "picture.png": b"\x89PNG\r\n\x1a\n\n",
    "packed.zip": b"PK\n\r\n",
}


def differing(clone: Path) -> set[str]:
    """The tracked files whose bytes are not those that git has."""
    listed = [line.split("\t") for line in git(clone, "ls-files", "--stage").splitlines()]
    blobs = {name: entry.split()[1] for entry, name in listed}
    found = {name: (clone / name).read_bytes() for name in blobs}
    return {
        name for name, data in found.items() if hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() != blobs[name]
    }


def test_a_clone_of_this_repository_has_the_committed_bytes(tmp_path):
    git(tmp_path, "clone", "--quiet", *CRLF, str(REPOSITORY), "clone")
    assert differing(tmp_path / "clone") == set()


@pytest.fixture
def project(tmp_path):
    """Results, sources and binary files, committed by a user with `core.autocrlf=true`."""
    root = tmp_path / "project"
    for name, data in (WRITTEN | OTHERS).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    outs = [{"path": name, "md5": hashlib.md5(data).hexdigest()} for name, data in WRITTEN.items()]
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"all": {"outs": outs}}}))
    shutil.copy(REPOSITORY / ".gitattributes", root)
    git(root, "init", "--quiet")
    git(root, *CRLF, "-c", "core.safecrlf=true", "add", "--all")
    git(root, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "all")
    return root


def test_results_pass_through_git_as_they_are_and_verify_finds_nothing(project, tmp_path):
    git(tmp_path, "clone", "--quiet", *CRLF, str(project), "clone")
    clone = tmp_path / "clone"
    assert {name: (clone / name).read_bytes() for name in WRITTEN | OTHERS} == WRITTEN | OTHERS
    assert list(hashes.changed(clone)) == []
    assert list(figures.lines(clone, "reports/skin/card.md", WRITTEN["reports/skin/card.md"].decode())) == []


def test_a_source_with_crlf_is_committed_with_lf(project):
    (project / "params.yaml").write_bytes(b"seed: 43\r\n")
    git(project, "add", "params.yaml")
    assert git(project, "ls-files", "--eol", "params.yaml").startswith("i/lf")
