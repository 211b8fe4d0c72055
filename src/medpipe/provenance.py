"""What a run was made by: code, libraries, script, user, DVC stage and experiment."""

import functools
import getpass
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from medpipe.params import FILES

_GPUS = Path("/proc/driver/nvidia/gpus")
CODE = ("src", "stages", *FILES, "dvc.yaml", "requirements.lock", "requirements-gpu.lock")
LIBRARIES = ("keras", "numpy", "albumentations", "opencv-python-headless", "pillow", "scikit-learn")
VERSION, PROCESSOR = "medpipe.version.", "medpipe.processor"


def tags() -> dict[str, str]:
    """Tags for MLflow: the git commit of the current directory (the copy, where an experiment runs in one), in
    `medpipe.dirty` whether CODE differs from it, and what DVC calls the stage and the experiment. Where git cannot
    tell, `medpipe.commit` says why, and stderr too. `medpipe.version.<name>` are those of `versions`, PROCESSOR is
    `processor`.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        user = str(os.getuid())
    found = {"mlflow.user": user, "mlflow.source.type": "LOCAL", "mlflow.source.name": sys.argv[0]}
    try:
        found |= {"mlflow.source.git.commit": _git("rev-parse", "HEAD"), "medpipe.dirty": str(_dirty()).lower()}
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "").strip() or str(error)
        found["medpipe.commit"] = f"unknown: {said.splitlines()[0]}"
        _warn(f"WARNING: runs cannot be traced to their code, their commit is {found['medpipe.commit']}")
    for tag, variable in (("medpipe.stage", "DVC_STAGE"), ("medpipe.experiment", "DVC_EXP_NAME")):
        if value := os.environ.get(variable):
            found[tag] = value
    return found | {f"{VERSION}{name}": value for name, value in versions().items()} | {PROCESSOR: processor()}


def versions() -> dict[str, str]:
    """What decides figures beside settings, data and code: the libraries, and the backend where Keras is in use."""
    found = {name: version(name) for name in LIBRARIES}
    if keras := sys.modules.get("keras"):
        backend = keras.backend.backend()
        found["backend"] = f"{backend} {version(backend)}"
    return found


def kernels() -> dict[str, str]:
    """What decides the last bits of a figure: `versions` and `processor`. Without Keras its backend is lacking."""
    return versions() | {"processor": processor()}


@functools.cache
def processor() -> str:
    """The models of this machine's CPU and NVIDIA GPUs. The same libraries choose other kernels on another one, whose
    sums end in other bits.
    """
    models = {platform.machine()}
    for path, key in ((Path("/proc/cpuinfo"), "model name"), *((p, "Model") for p in _GPUS.glob("*/information"))):
        with suppress(OSError):
            models |= set(re.findall(rf"^{key}\s*:\s*(.+)$", path.read_text(), re.MULTILINE))
    return ", ".join(sorted(models))


def chosen() -> dict[str, str]:
    """What `versions` will be in a process that uses Keras, without the seconds that its import takes.

    As Keras does, it asks KERAS_BACKEND, then keras.json. A backend that is not installed is left out.
    """
    settings = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "keras.json")
    kept, found = {}, versions()
    with suppress(OSError, ValueError):
        kept = json.loads(settings.read_text())
    backend = os.environ.get("KERAS_BACKEND") or kept.get("backend", "tensorflow")
    with suppress(PackageNotFoundError):
        found["backend"] = f"{backend} {version(backend)}"
    return found


def grouped(tags: Mapping[str, Mapping[str, str]], now: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Of models, by the tags of each one's run, those that differ from `now`: {what `differences` says: names}."""
    found: dict[str, list[str]] = {}
    for name in tags:
        if said := differences(tags[name], now):
            found.setdefault(said, []).append(name)
    return found


def differences(tags: Mapping[str, str], now: Mapping[str, str] | None = None) -> str:
    """How `now`, by default the `versions` of this process, differs from what made the run with these tags, as a line;
    "" where it does not.
    """
    was = {tag.removeprefix(VERSION): value for tag, value in tags.items() if tag.startswith(VERSION)}
    now = versions() if now is None else now
    return "; ".join(
        f"{name}: trained with {was.get(name, 'an unknown one')}, now {now.get(name, 'none')}"
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    )


def _dirty() -> bool:
    # With an index of our own, git compares contents: by its own it goes by size and time, and in the copies that DVC's
    # queue makes it then misses a parameter that was changed to another of the same length.
    with TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        _git("read-tree", "HEAD", index=index)
        return bool(_git("status", "--porcelain", "--", *CODE, index=index))


def _git(*command: str, index: str | None = None) -> str:
    """What git prints, of another user's repository too: its code runs here anyway. Raises as `subprocess.run` does."""
    environment = os.environ | ({"GIT_INDEX_FILE": index} if index else {})
    full = ["git", "-c", "safe.directory=*", *command]
    return subprocess.run(full, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@functools.cache
def _warn(message: str) -> None:
    """Once a process: a search begins many runs."""
    print(message, file=sys.stderr, flush=True)
