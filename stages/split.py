"""Deal a task's rows to train, val and test: `python stages/split.py skin`."""

import hashlib
import json
import sys
from pathlib import Path

import pandas as pd

import own_code  # noqa: F401
from medpipe import atomic
from medpipe.data.split import split
from medpipe.params import Task, load


def main(task: Task) -> None:
    params = load()
    table = pd.read_parquet(Path("data/clean") / f"{task}.parquet")
    rows, stats, report = split(table, params.tasks[task], params.split[task])
    with atomic.folder(Path("data/split") / task) as folder:
        rows.to_parquet(folder / "rows.parquet", index=False)
        report["digest"] = hashlib.sha256((folder / "rows.parquet").read_bytes()).hexdigest()[:16]  # as runs' tags say
        dealt = {"classes": params.tasks[task].classes, "subgroups": params.tasks[task].subgroups}
        (folder / "task.json").write_text(json.dumps(dealt, indent=2) + "\n")
        (folder / "stats.json").write_text(json.dumps(stats, indent=2) + "\n")
    with atomic.file(Path("reports") / task / "split.json") as path:
        path.write_text(json.dumps(report, indent=2) + "\n")
    sets = ", ".join(f"{name} {n}" for name, n in rows["set"].value_counts().items())
    said = [f"{len(report['merged'])} pairs of duplicates merged"]
    if any(report["leak"].values()) or not report["grouping"]:
        said.append(f"leak {report['leak']}")
    print("; ".join([f"{task}: {sets}", *said, *filter(None, [report["grouping"]])]))


if __name__ == "__main__":
    main(sys.argv[1])
