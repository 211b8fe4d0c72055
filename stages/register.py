"""Register a task's best model, and make it the champion if it passes its gate: `python stages/register.py skin`."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import own_code  # noqa: F401
from medpipe import atomic
from medpipe.params import Task, load
from medpipe.registry import claim, evidence
from medpipe.registry.register import elect, nobody


def main(task: Task) -> None:
    params = load()
    reports = Path("reports") / task
    best = json.loads((reports / "comparison.json").read_text())["best"]
    registered = params.registry[task].name
    if best is None:
        champion = nobody(registered)
        texts = dict.fromkeys(("card", "claim"), f"No model is registered: {champion['decision']['why']}.\n")
        print(f"{registered}@champion stays where it is: {champion['decision']['why']}")
    else:
        found = evidence.read(Path(), task, best, params)
        # An experiment may be thrown away, and of those in copies several run at once: the alias follows `dvc repro`
        # alone, and stages/restore.py once an experiment has become the repository's own state.
        own = "DVC_EXP_NAME" not in os.environ
        champion = elect(best, task, Path(), params, partial(claim.texts, found), found.probes, move=own)
        texts = claim.texts(found, champion["decision"])
        print(f"{registered}@champion: {champion['name'] or 'none'}; {best}: {champion['decision']['why']}")
    written = {f"{name}.md": text for name, text in texts.items()}
    for name, text in (written | {"champion.json": json.dumps(champion, indent=2) + "\n"}).items():
        with atomic.file(reports / name) as path:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
