"""Register a task's best model, and make it the champion unless it is shown worse: `python stages/register.py skin`."""

import json
import os
import sys
from pathlib import Path

from medpipe import atomic
from medpipe.params import Task, load
from medpipe.registry.register import elect, nobody


def main(task: Task) -> None:
    params = load()
    reports = Path("reports") / task
    best = json.loads((reports / "comparison.json").read_text())["best"]
    # An experiment may be thrown away, and of those in copies several run at once: the alias follows `dvc repro` alone,
    # and stages/restore.py once an experiment has become the repository's own state.
    own = "DVC_EXP_NAME" not in os.environ
    registered = params.registry[task]
    if best is None:
        champion = nobody(registered)
    else:
        metrics, model = Path("metrics") / task / f"{best}.json", Path("models") / best
        settings = params.compare[task], params.evaluate, params.evaluate.seed
        champion = elect(best, registered, model, metrics, *settings, move=own)
    decision = champion["decision"]
    if best is None:
        print(f"{registered}@champion stays where it is: {decision['why']}")
    else:
        print(f"{registered}@champion: {champion['name']}; {best}: {decision['why']}")
    with atomic.file(reports / "champion.json") as path:
        path.write_text(json.dumps(champion, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
