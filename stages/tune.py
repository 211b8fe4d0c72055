"""Search a model's hyperparameters, as tuning.yaml says: `python stages/tune.py chest-convnet`. No stage of DVC's;
`make tune MODEL=chest-convnet` runs it.
"""

import sys
from pathlib import Path

import own_code  # noqa: F401
from medpipe import atomic, driver
from medpipe.params import checked, read
from medpipe.studies.copies import Snapshot
from medpipe.tuning import report, space, winner
from medpipe.tuning.process import Trainer
from medpipe.tuning.study import opened


def main(name: str) -> None:
    values = read()
    tuning = space.load(Path("tuning.yaml"), name, values)
    params = checked(values)
    settings = params.models[name]
    stages = [f"split@{settings.task}", f"prepare@{settings.inputs[0]}"]
    if settings.generator is not None:
        stages.append(f"measure@{settings.generator}")
    driver.reproduce(Path.cwd(), *stages)
    snapshot = Snapshot.of(Path.cwd())  # now, so that the trials' code is the experiment's
    with (
        Trainer(values, name) as trainer,
        opened(name, tuning, values, params.seed, trainer.facts) as search,
    ):
        search.go_on(trainer)
        trainer.stop()  # the experiment below needs the memory
        best, folder = search.best(), Path("reports") / settings.task / "tuning" / name
        with atomic.folder(folder) as path:
            report.write(path, search)
        search.run.log_artifacts(folder)
        search.run.tag("best", str(best.number))
        for key, value in search.changes(best).items():
            search.run.tag(f"best.{key}", str(value))
        experiment, value, made_by = winner.experiment(snapshot, search, values)
        search.run.tag("experiment", experiment)
        print(f"trial {best.number}: {tuning.metric} {best.value}; experiment {experiment}: {value}")
        if differs := winner.disagreement(search, value, made_by, params.deterministic):
            print(f"WARNING: {differs}", file=sys.stderr)
        print(f"to take its settings and model: dvc exp apply {experiment}")


if __name__ == "__main__":
    with driver.interruptible("`make tune` resumes after the trials that ended"):
        main(sys.argv[1])
