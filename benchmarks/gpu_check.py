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
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medpipe import gpus

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
MINUTES = 10
# The title of each claim, whether it needs a GPU, and the most seconds that it may take. The order of importance: what
# the ten minutes do not reach fails.
CLAIMS = {
    "sees_gpu": ("sees the GPU", True, 60),
    "full_float32": ("TF32 is off where figures are measured", False, 60),
    "memory_growth": ("takes the memory it needs, not the whole GPU's", True, 90),
    "two_trainings": ("two trainings at once take a GPU each, or turns on one", True, 150),
    "served_b4": ("EfficientNetB4 is served as it is measured", False, 120),
    "served_v2m": ("EfficientNetV2M is served as it is measured", False, 120),
    "speed_b4": ("input keeps up with EfficientNetB4", False, 200),
    "speed_v2m": ("input keeps up with EfficientNetV2M", False, 240),
    "first_steps": ("every recipe's first steps are finite, in its own precision", False, 240),
}
PASS, FAIL, NOT_TRIED = "pass", "FAIL", "not tried"


def run(claim: str, backend: str, tiny: bool, left: float) -> dict[str, Any]:
    """The verdict on a claim, what it was found by, its figures and seconds."""
    _, needs_gpu, limit = CLAIMS[claim]
    if importlib.util.find_spec(backend) is None:
        return {"verdict": NOT_TRIED, "detail": f"{backend} is not installed"}
    if needs_gpu and not gpus.usable():
        return {"verdict": NOT_TRIED, "detail": "no GPU"}
    if left <= 0:
        return {"verdict": FAIL, "detail": f"not reached in {MINUTES} minutes"}
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).with_name("gpu_claims.py")), claim, folder]
        environment = os.environ | {"KERAS_BACKEND": backend, "NO_ALBUMENTATIONS_UPDATE": "1"}
        with Path(folder, "stderr").open("w+b") as errors:
            process = subprocess.Popen(
                command + ["--tiny"] * tiny, env=environment, stderr=errors, stdout=errors, start_new_session=True
            )
            try:
                process.wait(min(limit, left))
            except subprocess.TimeoutExpired:
                detail = f"did not end in {min(limit, left):.0f} s"
            else:
                detail = f"ended with {process.returncode}"
            finally:
                _end(process)
            errors.seek(0)
            output = errors.read().decode(errors="replace")
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


def machine() -> dict[str, Any]:
    """What it was run on."""
    packages = ("medpipe", "keras", *BACKENDS, "numpy", "onnxruntime", "albumentations")
    installed = [name for name in packages if importlib.util.find_spec(name)]
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpus": [device.uuid for device in gpus.usable()],
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
    end = time.monotonic() + 60 * MINUTES
    claims: dict[str, dict[str, Any]] = {}
    for claim in CLAIMS:
        if tiny and claim.endswith("v2m"):  # would be of the same small network
            continue
        claims[claim] = {}
        for backend in BACKENDS:
            outcome = claims[claim][backend] = run(claim, backend, tiny, end - time.monotonic())
            print(f"{claim} {backend}: {outcome['verdict']}: {outcome['detail']}", file=sys.stderr, flush=True)
    rates = {claim: [outcome.get("images_per_second") for outcome in claims[claim].values()] for claim in claims}
    report = {
        "machine": machine(),
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
