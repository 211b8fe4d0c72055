"""Read a task's archive into its manifest: `python stages/ingest.py skin`."""

import sys
from pathlib import Path

import pandas as pd

import own_code  # noqa: F401
from medpipe import atomic
from medpipe.data.ingest import QuarantineError, build_manifest, summary
from medpipe.params import Task, load


def main(task: Task) -> None:
    params = load()
    reports = Path("reports") / task
    try:
        ingested = build_manifest(task, params.tasks[task], params.ingest)
    except QuarantineError as error:
        write(error.quarantine, reports)  # what is wrong must be readable although the stage fails
        raise
    write(ingested.quarantine, reports)
    lines = [f"{task}: {line}" for line in summary(ingested)]
    with atomic.file(reports / "ingest.txt") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with atomic.file(Path("data/manifest") / f"{task}.parquet") as path:
        ingested.manifest.to_parquet(path, index=False)
    print("\n".join(lines))


def write(quarantine: pd.DataFrame, reports: Path) -> None:
    with atomic.file(reports / "quarantine.csv") as path:
        quarantine.to_csv(path, index=False)


if __name__ == "__main__":
    main(sys.argv[1])
