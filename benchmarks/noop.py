"""`dvc repro` with nothing to do, against bare DVC on as many trivial stages, in turn.

    python benchmarks/noop.py [ROUNDS]

To be run in a repository that is up to date (`make repro`). A trivial stage has a dependency, a parameter, an output.
"""

import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from machine import describe

DVC = (sys.executable, "-m", "dvc")


def trivial(root: Path, stages: int) -> None:
    """A chain of stages that copy a file."""
    names = [f"s{i}" for i in range(stages)]
    (root / "params.yaml").write_text(yaml.safe_dump({name: i for i, name in enumerate(names)}))
    (root / "start.txt").write_text("0")
    listed = {}
    for before, name in pairwise(["start", *names]):
        files = {"deps": [f"{before}.txt"], "params": [name], "outs": [f"{name}.txt"]}
        listed[name] = {"cmd": f"cp {before}.txt {name}.txt"} | files
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": listed}))
    for command in (("git", "init", "--quiet"), (*DVC, "init", "--quiet"), (*DVC, "repro", "--quiet")):
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)


def seconds(root: Path) -> float:
    start = time.perf_counter()
    found = subprocess.run([*DVC, "repro"], cwd=root, check=True, capture_output=True, text=True)
    assert "Running stage" not in found.stdout, f"{root}: was not up to date; run `make repro` first"
    return time.perf_counter() - start


def main(rounds: int) -> None:
    listed = subprocess.run([*DVC, "stage", "list", "--name-only"], check=True, capture_output=True, text=True).stdout
    stages = len(listed.splitlines())
    describe()
    with TemporaryDirectory() as name:
        bare = Path(name)
        trivial(bare, stages)
        pairs = [(seconds(Path.cwd()), seconds(bare)) for _ in range(rounds)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{stages} stages, {rounds} rounds, medians: here {ours:.2f} s, bare DVC {theirs:.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
