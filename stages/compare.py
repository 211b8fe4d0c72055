"""Compare the models of a task that evaluation.yaml lists: `python stages/compare.py skin`."""

import sys
from pathlib import Path

import own_code  # noqa: F401
from medpipe import atomic
from medpipe.evaluation import wording
from medpipe.evaluation.compared import compared, texts
from medpipe.params import Task, load


def main(task: Task) -> None:
    params = load()
    reports = Path("reports") / task
    known = {*params.compare[task].models, *(["probes"] if task in params.probes else [])}
    known |= {name for name, generator in params.generators.items() if generator.task == task}
    # DVC leaves the files of a model that was taken out of `compare`, and counts them to the folders that it was in.
    for folder in (Path("predictions") / task, reports / "models", Path("metrics") / task):
        for path in folder.glob("*.*"):
            if path.stem not in known:
                path.unlink()
    comparison = compared(Path(), task, params)
    for name, text in texts(Path(), task, params, comparison).items():
        with atomic.file(reports / name) as tmp:
            tmp.write_text(text, encoding="utf-8")
    print(
        f"{task}: best by {comparison['metric']} is {wording.best(comparison)}, of {', '.join(comparison['ranking'])}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
