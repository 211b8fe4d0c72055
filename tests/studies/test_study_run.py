"""A queueing that was killed: the workspace is put back, with the user's own changes."""

import pytest

from medpipe.studies import run
from medpipe.studies.results import git


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch", "main")
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        git(root, "config", key, value)
    for name in ("params.yaml", "notes"):
        (root / name).write_text("committed\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    return root


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("detached", [False, True])
def test_the_workspace_is_put_back(repository, tmp_path, monkeypatch, changed, detached):
    if detached:
        git(repository, "checkout", "--quiet", "--detach")
    if changed:
        (repository / "params.yaml").write_text("the user's\n")
        (repository / "notes").write_text("staged\n")
        git(repository, "add", "notes")
    before = git(repository, "status", "--porcelain", "--branch")
    texts = [(repository / name).read_text() for name in ("params.yaml", "notes")]
    journal = tmp_path / "queueing.json"
    with monkeypatch.context() as patch:
        patch.setattr(run, "restore_workspace", lambda *_: None)  # as where it is killed
        with run._queueing(repository, journal):  # what DVC does until then
            if changed:
                git(repository, "stash", "push", "--quiet")
            git(repository, "checkout", "--quiet", "--detach")
            (repository / "params.yaml").write_text("another row's\n")
    run.restore_workspace(repository, journal)
    assert git(repository, "status", "--porcelain", "--branch") == before
    assert [(repository / name).read_text() for name in ("params.yaml", "notes")] == texts
    assert not git(repository, "stash", "list")
    assert not journal.exists()


def test_changes_made_meanwhile_are_left_where_nothing_was_killed(repository, tmp_path):
    with run._queueing(repository, tmp_path / "queueing.json"):
        (repository / "notes").write_text("the user's\n")
    assert (repository / "notes").read_text() == "the user's\n"
