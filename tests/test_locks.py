"""The lock files: one of everything, one that adds CUDA's wheels, and two with less."""

import inspect
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def locked(name):
    """{requirement: its hashes}"""
    text = (REPOSITORY / name).read_text().replace("\\\n", " ")
    split = (line.partition("--hash=") for line in text.splitlines())
    return {requirement.strip(): set(re.findall(r"sha256:\w+", hashes)) for requirement, _, hashes in split}


def test_the_lock_for_gpus_is_the_other_one_and_cudas_wheels():
    plain, gpu = locked("requirements.lock"), locked("requirements-gpu.lock")
    assert {requirement: gpu.get(requirement) for requirement in plain} == plain
    added = gpu.keys() - plain.keys()
    assert any(requirement.startswith("nvidia-cudnn-cu12==") for requirement in added)
    assert all(re.match(r"(nvidia|jax-cuda12)-", requirement) for requirement in added)
    assert all(gpu.values())


def test_the_lock_for_gpus_has_what_mlflows_gpu_monitor_imports():
    """`pynvml`, which nvidia-ml-py installs; the distribution named pynvml is another one, and deprecated."""
    from mlflow.system_metrics.metrics import gpu_monitor

    assert "import pynvml" in inspect.getsource(gpu_monitor)
    assert any(requirement.startswith("nvidia-ml-py==") for requirement in locked("requirements-gpu.lock"))


@pytest.mark.parametrize("name", ["requirements-serve.lock", "requirements-ui.lock"])
def test_what_serves_and_shows_models_is_of_the_same_versions_and_trains_nothing(name):
    everything, less = (
        {requirement.partition(" ;")[0]: hashes for requirement, hashes in locked(lock).items()}
        for lock in ("requirements.lock", name)
    )
    assert all(less.values())
    assert {requirement: everything.get(requirement) for requirement in less} == less
    assert not [requirement for requirement in less if re.match("tensorflow|keras|jax|dvc|albumentations", requirement)]


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("requirements-serve.lock", ["medpipe.cli", "medpipe.service.app", "medpipe.drift.watch"]),
        ("requirements-ui.lock", ["medpipe.app.page"]),
    ],
)
def test_what_serves_and_shows_models_can_be_imported_where_nothing_else_is_installed(name, modules):
    here = {re.sub("[-_.]+", "-", requirement.partition("==")[0]) for requirement in locked(name)} | {"medpipe"}
    others = [
        module
        for module, distributions in packages_distributions().items()
        if not here & {re.sub("[-_.]+", "-", distribution).lower() for distribution in distributions}
    ]
    assert {"keras", "tensorflow", "openpyxl", "dvc"} <= {*others}
    program = f"import sys; sys.modules |= dict.fromkeys({others}); import {', '.join(modules)}"
    subprocess.run([sys.executable, "-c", program], check=True)
