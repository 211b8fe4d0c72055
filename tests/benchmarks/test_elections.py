"""benchmarks/elections.py against a real MLflow server."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/elections.py"


@pytest.fixture
def server(tmp_path):
    """The address of an MLflow server on SQLite."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    store, artifacts = f"sqlite:///{tmp_path}/store.db", str(tmp_path / "artifacts")
    command = [sys.executable, "-m", "mlflow", "server", "--port", port, "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", artifacts]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        while process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60):
                    break
            except (urllib.error.URLError, ConnectionError):
                os.sched_yield()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_two_clones_elect_at_once_and_the_better_model_ends_as_champion(server, tmp_path):
    """Either one first, both at once, one suspended or killed in the middle, an older clone's `make ui`."""
    done = subprocess.run([sys.executable, SCRIPT, server, "--lease", "6"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "log").read_text()
    assert done.stdout.count("@champion is the better one") == 9
    assert done.stdout.endswith("all of it held\n")
