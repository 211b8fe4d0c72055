"""Show a task's data: `python stages/explore.py skin`."""

import hashlib
import json
import sys
from pathlib import Path

import pandas as pd

import own_code  # noqa: F401
from medpipe import atomic, tracking
from medpipe.data.archive import Archive
from medpipe.exploration import page
from medpipe.exploration.explore import explore
from medpipe.exploration.plots import plot_all
from medpipe.exploration.publish import RECORDS, key, publish
from medpipe.params import Task, load


def main(task: Task) -> None:
    params = load()
    reports, plots, split = Path("reports") / task, Path("plots") / task / "exploration", Path("data/split") / task
    rows = split / "rows.parquet"
    found = explore(
        pd.read_parquet(Path("data/manifest") / f"{task}.parquet"),
        pd.read_parquet(Path("data/clean") / f"{task}.parquet"),
        pd.read_parquet(rows),
        json.loads((reports / "split.json").read_text()),
        pd.read_csv(reports / "quarantine.csv", dtype=str, keep_default_na=False),
        params.tasks[task],
        Archive(params.tasks[task].archive),
        params.explore,
        params.ingest.max_pixels,
    )
    with atomic.folder(plots) as folder:
        drawn = plot_all(folder, task, found)
    facts, shown = reports / "exploration.json", reports / "exploration.html"
    with atomic.file(facts) as path:
        path.write_text(json.dumps(found.facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    with atomic.file(shown) as path:
        path.write_text(page.html(task, found.facts, plots, drawn), encoding="utf-8")
    settings = params.explore.model_dump()
    tags = {"split": hashlib.sha256(rows.read_bytes()).hexdigest()[:16]}
    with (
        atomic.folder(RECORDS / task) as folder,
        tracking.begin(task, "exploration", settings, tags, folder, key=key(task, settings, found.facts)) as run,
    ):
        publish(run, facts=facts, page=shown, plots=plots)
        run.write(folder)
    print(f"{task}: {len(found.facts['rows'])} classes, {found.facts['images']['kept']} images; {shown}")


if __name__ == "__main__":
    main(sys.argv[1])
