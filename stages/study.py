"""Run a study of studies.yaml and print its table: `python stages/study.py imbalance --jobs 1`. No stage of DVC's."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import own_code  # noqa: F401
from medpipe import atomic, driver
from medpipe.errors import InputError
from medpipe.params import Params, load, load_studies, read
from medpipe.studies.page import markdown
from medpipe.studies.plan import Experiment, plan
from medpipe.studies.results import Result, load_result
from medpipe.studies.run import Outcome, deferred, run
from medpipe.studies.table import summarise


def main(name: str, jobs: int) -> bool:
    """Whether every experiment is there in the end."""
    root, studies = Path.cwd(), load_studies()
    if name not in studies:
        raise InputError(f"studies.yaml: has no {name!r}; it has {', '.join(studies)}")
    study, params = studies[name], load()
    experiments = plan(name, study, read())
    # Once here, and not in the copy of each experiment: DVC's run cache leaves out stages that write reports into git.
    driver.reproduce(root, "--quiet", f"split@{study.task}")
    with deferred() as stop:
        outcomes = run(root, experiments, jobs, stop)
        return report(name, params, experiments, outcomes)


def report(name: str, params: Params, experiments: Sequence[Experiment], outcomes: Mapping[str, Outcome]) -> bool:
    """Write and print the table of what there is; whether nothing lacks."""
    root, study = Path.cwd(), load_studies()[name]
    results: dict[str, dict[int, Result]] = {row: {} for row in study.rows}
    unfinished: dict[str, dict[int, str]] = {row: {} for row in study.rows}
    for experiment in experiments:
        outcome = outcomes[experiment.name]
        if outcome.commit is None:
            unfinished[experiment.row][experiment.seed] = outcome.state
        else:
            results[experiment.row][experiment.seed] = load_result(root, experiment, outcome.commit)
    summary = summarise(name, study, params, results, unfinished)
    text = markdown(summary)
    for end, content in (("json", json.dumps(summary, indent=1, allow_nan=False) + "\n"), ("md", text)):
        with atomic.file(Path("reports") / study.task / "studies" / f"{name}.{end}") as path:
            path.write_text(content, encoding="utf-8")
    print(text)
    return not any(unfinished.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--jobs", type=int, required=True)
    arguments = parser.parse_args()
    resumes = "`make study` resumes: what ended is kept, interrupted trainings continue from their last epoch"
    with driver.interruptible(resumes):
        sys.exit(not main(arguments.name, arguments.jobs))
