"""What a run was made by: code, script, user, DVC stage and experiment."""

import getpass
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

CODE = ("src", "stages", "params.yaml", "dvc.yaml", "requirements.lock")


def tags() -> dict[str, str]:
    """Tags for MLflow: the git commit of the current directory (the copy, where an experiment runs in one), in
    `medpipe.dirty` whether CODE differs from it, and what DVC calls the stage and the experiment.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        user = str(os.getuid())
    found = {"mlflow.user": user, "mlflow.source.type": "LOCAL", "mlflow.source.name": sys.argv[0]}
    if commit := _git("rev-parse", "HEAD"):
        found |= {"mlflow.source.git.commit": commit, "medpipe.dirty": str(_dirty()).lower()}
    for tag, variable in (("medpipe.stage", "DVC_STAGE"), ("medpipe.experiment", "DVC_EXP_NAME")):
        if value := os.environ.get(variable):
            found[tag] = value
    return found


def _dirty() -> bool:
    # With an index of our own, git compares contents: by its own it goes by size and time, and in the copies that DVC's
    # queue makes it then misses a parameter that was changed to another of the same length.
    with TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        _git("read-tree", "HEAD", index=index)
        return bool(_git("status", "--porcelain", "--", *CODE, index=index))


def _git(*command: str, index: str | None = None) -> str:
    """What git prints; "" where it cannot say, or is not there."""
    environment = os.environ | ({"GIT_INDEX_FILE": index} if index else {})
    try:
        return subprocess.run(
            ["git", *command], capture_output=True, text=True, check=True, env=environment
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
