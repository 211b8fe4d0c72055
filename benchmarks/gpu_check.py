"""Whether medpipe's claims about GPUs hold on this machine: one command, under ten minutes.

    python benchmarks/gpu_check.py [--tiny] [FOLDER]

Each claim is a function of gpu_claims.py, run for TensorFlow and for JAX in a process of its own, which holds a GPU as
a stage does and is ended at a time limit: a crash or a hang fails that claim, and the others go on. Writes
gpu_check.json and gpu_check.md to FOLDER (the current one) and prints the latter; ends with 1 where a claim failed. A
claim is not tried where its backend is not installed, or where it needs a GPU and there is none.

--tiny takes small networks and images and few steps, for a CPU: speed is told and not judged without a GPU.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medpipe import gpus

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
MINUTES = 10
# The title of each claim, whether it needs a GPU, and the most seconds that it may take on a backend. In the order of
# importance: what the ten minutes do not reach fails. The limits, which are there to end what hangs, add up to 29
# minutes on both backends; ten minutes are enough where claims take 34 % of them in the mean.
CLAIMS = {
    "sees_gpu": ("sees the GPU", True, 60),
    "full_float32": ("TF32 is off where figures are measured", False, 60),
    "served_b4": ("EfficientNetB4 is served as it is measured", False, 60),
    "served_v2m": ("EfficientNetV2M is served as it is measured", False, 90),
    "two_trainings": ("two trainings at once take a GPU each, or turns on one", True, 90),
    "memory_growth": ("takes the memory it needs, not the whole GPU's", True, 60),
    "first_steps": ("every recipe's first steps are finite, in its own precision", False, 150),
    "speed_b4": ("input keeps up with EfficientNetB4", False, 120),
    "speed_v2m": ("input keeps up with EfficientNetV2M", False, 180),
}
PASS, FAIL, NOT_TRIED = "pass", "FAIL", "not tried"


def run(claim: str, backend: str, tiny: bool, seconds: float, cache: str) -> dict[str, Any]:
    """The verdict on a claim, how it was reached, its figures and seconds; it is ended after so many `seconds`."""
    started = time.monotonic()
    with TemporaryDirectory() as folder, Path(folder, "output").open("w+b") as file:
        command = [sys.executable, str(Path(__file__).with_name("gpu_claims.py")), claim, folder, *["--tiny"] * tiny]
        # What JAX has compiled for one claim is not compiled again for the next.
        own = {"KERAS_BACKEND": backend, "NO_ALBUMENTATIONS_UPDATE": "1", "JAX_COMPILATION_CACHE_DIR": cache}
        process = subprocess.Popen(command, env=os.environ | own, stderr=file, stdout=file, start_new_session=True)
        try:
            detail = f"ended with {process.wait(seconds)}"
        except subprocess.TimeoutExpired:
            detail = f"did not end in {seconds:.0f} s"
        finally:
            _end(process)
        file.seek(0)
        output = file.read().decode(errors="replace")
        answer = Path(folder, "answer.json")
        if process.returncode == 0 and answer.exists():
            outcome = json.loads(answer.read_text())
            outcome["verdict"] = PASS if outcome.pop("holds") else FAIL
        else:
            last = (output.strip().splitlines() or [""])[-1]
            outcome = {"verdict": FAIL, "detail": f"{detail}: {last[:300]}", "output": output[-5000:]}
    return outcome | {"seconds": round(time.monotonic() - started, 1)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what the claim started too: it leads a process group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_all(tiny: bool, devices: list[gpus.Device]) -> dict[str, dict[str, dict[str, Any]]]:
    """The outcome of each claim on each backend, within MINUTES."""
    end = time.monotonic() + 60 * MINUTES
    claims: dict[str, dict[str, dict[str, Any]]] = {}
    blind = set()  # backends that do not use the GPU: on the CPU the other claims would take hours
    with TemporaryDirectory() as cache:
        for claim, backend in product(CLAIMS, BACKENDS):
            _, needs_gpu, limit = CLAIMS[claim]
            left = end - time.monotonic()
            if tiny and claim.endswith("v2m"):  # would be of the same small network
                continue
            if importlib.util.find_spec(backend) is None:
                outcome = {"verdict": NOT_TRIED, "detail": f"{backend} is not installed"}
            elif needs_gpu and not devices:
                outcome = {"verdict": NOT_TRIED, "detail": "no GPU"}
            elif backend in blind:
                outcome = {"verdict": FAIL, "detail": f"not tried, as {backend} uses no GPU"}
            elif left <= 0:
                outcome = {"verdict": FAIL, "detail": f"not reached in {MINUTES} minutes"}
            else:
                outcome = run(claim, backend, tiny, min(limit, left), cache)
            if claim == "sees_gpu" and outcome["verdict"] == FAIL:
                blind.add(backend)
            claims.setdefault(claim, {})[backend] = outcome
            print(f"{claim} {backend}: {outcome['verdict']}: {outcome['detail']}", file=sys.stderr, flush=True)
    return claims


def machine(devices: list[gpus.Device]) -> dict[str, Any]:
    """What it was run on."""
    packages = ("medpipe", "keras", *BACKENDS, "numpy", "onnxruntime", "albumentations")
    installed = [name for name in packages if importlib.util.find_spec(name)]
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpus": [device.uuid for device in devices],
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in installed},
    }


def table(report: dict[str, Any]) -> str:
    """The report in Markdown: a row a claim, a column a backend."""
    about = report["machine"]
    lines = [
        f"{about['time']}, {about['cores']} cores, GPUs: {', '.join(about['gpus']) or 'none'}; "
        + ", ".join(f"{name} {number}" for name, number in about["versions"].items()),
        "",
        f"| claim | {' | '.join(BACKENDS.values())} |",
        f"|---|{'---|' * len(BACKENDS)}",
    ]
    for claim, outcomes in report["claims"].items():
        cells = [f"{outcomes[backend]['verdict']}: {outcomes[backend]['detail']}" for backend in BACKENDS]
        lines.append("| " + " | ".join([CLAIMS[claim][0], *(cell.replace("|", "/") for cell in cells)]) + " |")
    lines += ["", *(f"{CLAIMS[claim][0]}: JAX {ratio:.2f} times TensorFlow" for claim, ratio in report["jax"].items())]
    return "\n".join(lines).rstrip() + "\n"


def main(folder: Path, tiny: bool) -> int:
    devices = gpus.usable()
    claims = run_all(tiny, devices)
    rates = {claim: [outcome.get("images_per_second") for outcome in claims[claim].values()] for claim in claims}
    report = {
        "machine": machine(devices),
        "tiny": tiny,
        "claims": claims,
        "jax": {claim: jax / tensorflow for claim, (tensorflow, jax) in rates.items() if tensorflow and jax},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu_check.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "gpu_check.md").write_text(table(report))
    print(table(report), end="")
    return int(any(outcome["verdict"] == FAIL for outcomes in claims.values() for outcome in outcomes.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    sys.exit(main(arguments.folder, arguments.tiny))
