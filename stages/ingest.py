"""Read a task's archive into its manifest: `python stages/ingest.py skin`."""

import sys
from pathlib import Path

import pandas as pd

from medpipe import atomic
from medpipe.data.ingest import QuarantineError, build_manifest
from medpipe.params import Task, load


def main(task: Task) -> None:
    params = load()
    report = Path("reports") / task / "quarantine.csv"
    try:
        manifest, quarantine = build_manifest(params.archives[task], task, params.ingest)
    except QuarantineError as error:
        write(error.quarantine, report)  # what is wrong must be readable although the stage fails
        raise
    write(quarantine, report)
    with atomic.file(Path("data/manifest") / f"{task}.parquet") as path:
        manifest.to_parquet(path, index=False)
    print(f"{task}: {len(manifest)} images, {len(quarantine)} in quarantine ({report})")


def write(quarantine: pd.DataFrame, report: Path) -> None:
    with atomic.file(report) as path:
        quarantine.to_csv(path, index=False)


if __name__ == "__main__":
    main(sys.argv[1])  # type: ignore[arg-type]
