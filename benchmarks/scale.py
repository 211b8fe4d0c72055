"""Time and memory of ingest, clean, split and prepare by the number of images, and of DVC with nothing to do.

    python benchmarks/scale.py --work DIR --images 20000 50000 100000

Under `--work` it makes archives of images of 64 pixels, a folder a class, and clones of this repository with one task
each. Memory is the largest of a stage's processes together. `split` holds the search for near duplicates. `noop`: `dvc
status`, in which DVC looks at every file of the archive.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from medpipe.params import read, write

SIDE, CLASSES = 64, ("one", "two")
STAGES = ("ingest", "clean", "split", "prepare")


def draw(folder: Path, images: int) -> None:
    """Coarse noise, made fine; two images of a patient."""
    rng = np.random.default_rng(0)
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
    for i in range(images):
        path = folder / CLASSES[i // 2 % 2] / f"P{i // 2:06d}_{i % 2}.png"
        if not path.exists():
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8))
            coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, compress_level=1)


def change(params: dict[str, Any], archive: Path) -> None:
    reader = {"kind": "folders", "codes": {}, "sets": "ignore", "group": {"pattern": r"(P\d+)_"}, "ungrouped": "refuse"}
    task = {"archive": str(archive), "reader": reader, "classes": list(CLASSES)}
    params["tasks"] = {"scale": params["tasks"]["chest"] | task | {"subgroups": []}}
    params["clean"], params["split"] = {"scale": params["clean"]["chest"]}, {"scale": params["split"]["chest"]}
    params["prepare"] = {"scale": params["prepare"]["chest-256"] | {"task": "scale", "sizes": [SIDE]}}
    params["phantom"], params["compare"], params["registry"] = {}, {}, {}
    params["models"], params["fusions"], params["generators"] = {}, {}, {}
    params["evaluate"] |= {"explain": {}, "decide": {}}
    params["probes"] = {}


def measured(command: list[str], clone: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds, and the most MiB of the process and its children at once."""
    start, most = time.perf_counter(), 0
    process = psutil.Popen(command, cwd=clone, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        used = 0
        try:
            for one in (process, *process.children(recursive=True)):
                used += one.memory_info().rss
        except psutil.Error:
            continue
        most = max(most, used)
        time.sleep(0.1)
    assert process.returncode == 0, command
    return time.perf_counter() - start, most / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 50_000, 100_000])
    chosen = parser.parse_args()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    print(f"| images | {' | '.join(f'{stage}, s | MiB' for stage in STAGES)} | noop, s |")
    print("|" + "---|" * (2 * len(STAGES) + 2))
    for images in chosen.images:
        archive, clone = chosen.work.resolve() / f"images-{images}", chosen.work.resolve() / f"clone-{images}"
        draw(archive, images)
        if not clone.exists():
            subprocess.run(["git", "clone", "--quiet", str(Path(__file__).parents[1]), str(clone)], check=True)
        params = read()
        change(params, archive)
        write(clone, params)
        environment = os.environ | {"PATH": path}
        cells = [str(images)]
        measured(["python", "stages/fingerprint.py"], clone, environment)
        for stage in STAGES:
            seconds, memory = measured(["python", f"stages/{stage}.py", "scale"], clone, environment)
            cells += [f"{seconds:.0f}", f"{memory:.0f}"]
        subprocess.run(["dvc", "commit", "--force", "--quiet", "code", *(f"{stage}@scale" for stage in STAGES)],
                       cwd=clone, env=environment, check=True)  # fmt: skip
        seconds, _ = measured(["dvc", "status"], clone, environment)
        print(f"| {' | '.join([*cells, f'{seconds:.0f}'])} |", flush=True)


if __name__ == "__main__":
    main()
