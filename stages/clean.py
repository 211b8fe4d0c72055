"""Make a task's clean table of its manifest: `python stages/clean.py skin`."""

import sys
from pathlib import Path

import pandas as pd

import own_code  # noqa: F401
from medpipe import atomic
from medpipe.data.clean import clean
from medpipe.params import Task, load


def main(task: Task) -> None:
    params = load()
    manifest = pd.read_parquet(Path("data/manifest") / f"{task}.parquet")
    table = clean(manifest, params.tasks[task], params.clean[task])
    with atomic.file(Path("data/clean") / f"{task}.parquet") as path:
        table.to_parquet(path, index=False)
    print(f"{task}: {len(table)} of {len(manifest)} images kept")


if __name__ == "__main__":
    main(sys.argv[1])
