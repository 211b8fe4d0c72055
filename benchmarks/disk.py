"""What a run and an experiment leave on the disk: bytes of each file once, however many hard links it has.

    python benchmarks/disk.py [TARGET]

To be run in a repository that is committed and up to date (`make repro`). Runs `dvc exp run --downstream` of TARGET,
train@skin-v2m by default, with a learning rate that no recipe has, and puts what it adds beside the bytes of the
`.keras` and `.onnx` files that it made. The experiment stays; `dvc exp remove disk` and `make gc` remove it.
"""

import subprocess
import sys
from pathlib import Path

PLACES = ("data", "models", "generators", "predictions", "plots", "reports", "metrics")
STORES = (".dvc/cache", "mlartifacts", ".tmp", ".dvc/tmp")


def files(*folders: str) -> dict[int, tuple[int, Path]]:
    """Size and one path of each file below the folders, by inode."""
    paths = (path for folder in folders for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
    found = ((path.lstat(), path) for path in paths)
    return {status.st_ino: (status.st_size, path) for status, path in found}


def show(name: str, sizes: dict[int, tuple[int, Path]]) -> int:
    total = sum(size for size, _ in sizes.values())
    print(f"  {name:<40}{total / 1e6:>10.1f} MB")
    return total


def main(target: str) -> None:
    print("the run")
    for folder in (*PLACES, *STORES):
        show(folder, files(folder))
    before = files(*PLACES, *STORES)
    show("in all, each file once", before)

    command = ("dvc", "exp", "run", "--downstream", "--name", "disk", "--set-param", "train.lr=0.000123", target)
    subprocess.run([sys.executable, "-m", *command], check=True)
    after = files(*PLACES, *STORES)
    print("the experiment")
    added = show("adds", {inode: file for inode, file in after.items() if inode not in before})
    made = [file for inode, file in files("models", "predictions").items() if inode not in before]
    models = sum(size for size, path in made if path.suffix in (".keras", ".onnx"))
    print(f"  {'.keras and .onnx that it made':<40}{models / 1e6:>10.1f} MB")
    print(f"  {'ratio':<40}{added / models:>10.2f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "train@skin-v2m")
