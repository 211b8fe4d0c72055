"""A script of stages/ runs the code beside it and asks the git of the copy it runs in, whatever is exported."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medpipe.studies.copies import git

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = sorted(set((REPOSITORY / "stages").glob("*.py")) - {REPOSITORY / "stages/own_code.py"})
PROBE = """
import json

import own_code
from medpipe import fingerprint, provenance

print(json.dumps({"source": str(fingerprint.SOURCE), "commit": provenance.tags()["mlflow.source.git.commit"]}))
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_script_imports_it_before_the_package(script):
    body = ast.parse(script.read_text()).body
    names = [
        node.names[0].name if isinstance(node, ast.Import) else str(node.module).partition(".")[0]
        for node in body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert next(name for name in names if name in ("own_code", "medpipe")) == "own_code"


def test_code_and_commit_are_those_of_the_copy(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(REPOSITORY / "src/medpipe", copy / "src/medpipe", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "stages").mkdir()
    shutil.copy(REPOSITORY / "stages/own_code.py", copy / "stages")
    (copy / "stages/probe.py").write_text(PROBE)
    other = tmp_path / "other"
    other.mkdir()
    for root in (copy, other):
        git(root, "init", "--quiet")
        for key, value in (("user.name", root.name), ("user.email", "test@localhost")):
            git(root, "config", key, value)
        git(root, "commit", "--quiet", "--allow-empty", "--message", root.name)
    exported = {"PYTHONPATH": str(REPOSITORY / "src"), "GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other)}
    command = [sys.executable, "stages/probe.py"]
    printed = subprocess.check_output(command, cwd=copy, env=os.environ | exported, text=True)
    assert json.loads(printed) == {"source": str(copy / "src"), "commit": git(copy, "rev-parse", "HEAD")}
