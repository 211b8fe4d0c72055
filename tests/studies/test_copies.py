"""Experiments in copies: the workspace goes into them as it is, and stays as it is, whatever ends them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from medpipe.errors import InputError
from medpipe.studies.copies import FOLDER, Snapshot, git, remove_abandoned
from medpipe.studies.results import output, references

# `wait` is a pipe: who reads from it knows that the stage runs, which lasts until it is killed.
DVC = """
    stages:
      made: {cmd: echo made > made, outs: [made]}
      evaluate:
        foreach: [one, waiting, broken]
        do:
          cmd: bash ${item}.sh > ${item}
          deps: [made, "${item}.sh"]
          params: [rate]
          outs: [{"${item}": {cache: false}}]
"""
SCRIPTS = {
    "one": 'cat made params.yaml notes; echo "$MEDPIPE_ROOT"; test ! -e removed && pwd',
    "waiting": 'echo begun > "$MEDPIPE_ROOT/wait"; exec sleep 1000',
    "broken": "echo this is broken >&2; exit 3",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A DVC project in a folder of a repository, with a stage done, and changes: one of them put into git's index."""
    top = tmp_path_factory.mktemp("repository")
    root = top / "project"
    root.mkdir()
    (root / "dvc.yaml").write_text(textwrap.dedent(DVC))
    (root / "params.yaml").write_text("rate: 1  # a comment\n")
    (root / ".gitignore").write_text(".tmp/\nwait\n")
    for name in ("notes", "removed"):
        (root / name).write_text("committed\n")
    for name, script in SCRIPTS.items():
        (root / f"{name}.sh").write_text(script + "\n")
    git(top, "init", "--quiet", "--initial-branch", "main")
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        git(top, "config", key, value)
    dvc(root, "init", "--quiet", "--subdir")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    dvc(root, "repro", "--quiet", "made")  # its dvc.lock is not known to git
    (root / "params.yaml").write_text("rate: 2  # a comment\n")
    (root / "notes").write_text("the user's\n")
    git(root, "add", "notes")
    (root / "removed").unlink()
    return root


def dvc(root, *command):
    subprocess.run([sys.executable, "-m", "dvc", *command], cwd=root, check=True)


@pytest.fixture
def unchanged(project):
    before = state(project)
    yield
    assert state(project) == before
    assert not list((project / FOLDER).glob("*/"))


def state(root: Path):
    """All that an experiment must leave alone."""
    texts = {path.name: path.read_text() for path in root.iterdir() if path.is_file()}
    return (
        (root.parent / ".git/HEAD").read_text(),
        git(root, "status", "--porcelain"),
        git(root, "stash", "list"),
        texts,
    )


@pytest.mark.usefixtures("unchanged")
def test_an_experiment_is_made_of_the_workspace(project):
    assert Snapshot.of(project).run("first", "evaluate@one", ["rate=3"]) is None
    [(_, commit)] = references(project)["first"]
    assert git(project, "rev-parse", f"{commit}^") == git(project, "rev-parse", "HEAD")
    assert git(project, "show", f"{commit}:./params.yaml") == "rate: 3  # a comment"
    *lines, place = git(project, "show", f"{commit}:./one").splitlines()
    assert lines == ["made", "rate: 3  # a comment", "the user's", str(project)]
    assert output(project, "made", commit) == b"made\n"  # by DVC
    assert output(project, "one", "first").startswith(b"made\n")  # by git
    assert place == str(project / FOLDER / "first" / "project")
    assert "Running stage 'made'" not in (project / FOLDER / "first.log").read_text()  # its output came from the cache


@pytest.mark.usefixtures("unchanged")
def test_a_name_is_taken_again_by_a_later_experiment(project):
    for rate in (5, 6):
        assert Snapshot.of(project).run("again", "evaluate@one", [f"rate={rate}"]) is None
    [(_, commit)] = references(project)["again"]
    assert git(project, "show", f"{commit}:./params.yaml").startswith("rate: 6")


@pytest.mark.usefixtures("unchanged")
def test_what_fails_leaves_its_log(project):
    log = Snapshot.of(project).run("bad", "evaluate@broken", [])
    assert "this is broken" in log.read_text()
    assert "bad" not in references(project)


def test_where_the_starter_was_killed_the_next_one_clears_away_and_edits_stay(project):
    code = "from pathlib import Path; from medpipe.studies.copies import Snapshot\n"
    code += "Snapshot.of(Path.cwd()).run('killed', 'evaluate@waiting', ['rate=4'])"
    os.mkfifo(project / "wait")
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=project)
    try:
        with (project / "wait").open() as pipe:
            assert pipe.read() == "begun\n"
        (project / "params.yaml").write_text("rate: 7\n")
        edited = state(project)
        with pytest.raises(InputError, match="killed: another process runs this experiment"):
            Snapshot.of(project).run("killed", "evaluate@one", [])
        remove_abandoned(project)  # it is not
        assert running(project)
    finally:
        starter.kill()
        starter.wait()
        (project / "wait").unlink()
    assert running(project)
    remove_abandoned(project)
    assert not running(project)
    assert not (project / FOLDER / "killed").exists()
    assert "killed" not in references(project)
    assert state(project) == edited


def running(project):
    place = str(project / FOLDER / "killed")
    found = []
    for process in psutil.process_iter():
        try:
            found += [process] * process.cwd().startswith(place)
        except psutil.Error:
            continue
    return found
