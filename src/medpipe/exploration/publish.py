"""What an exploration has written, put into its run."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medpipe.tracking import Run

RECORDS = Path("data/exploration")  # a folder a task, with the record of its run


def key(task: str, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """The key of the run: the same facts by the same settings are the same run, however often they are found."""
    return hashlib.sha256(json.dumps([task, settings, facts], sort_keys=True).encode()).hexdigest()[:32]


def publish(run: Run, *, facts: Path, page: Path, plots: Path) -> None:
    """Log the counts, the report and its page, and the plots (a folder). Doing it again changes nothing."""
    found = json.loads(facts.read_text())
    sets = next(iter(found["rows"].values()))
    counts = {f"rows/{name}": sum(row[name] for row in found["rows"].values()) for name in sets}
    counts |= {f"images/{name}": count for name, count in found["images"].items()}
    counts |= {"groups": found["group_sizes"]["groups"], "duplicates/merged": found["duplicates"]["merged"]}
    logged = run.client.get_run(run.run_id).data.metrics
    for name, value in counts.items():
        if name not in logged:
            run.log_figure(name, value, 0)
    run.log_artifacts(facts, "report")
    run.log_artifacts(page, "report")
    run.log_artifacts(plots, "plots")
