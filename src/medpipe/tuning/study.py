"""An Optuna study of one model's hyperparameters, which goes on where it was stopped.

Each trial's draw follows from the seed and the trials before it. A trial that ended with the study's process, by
SIGKILL or Ctrl-C, does not count: what is drawn in its place is the same again, and the study ends as uninterrupted.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from medpipe import atomic, overrides, provenance, store, tracking
from medpipe.errors import InputError
from medpipe.params import Tuning
from medpipe.tuning.process import Trainer, TrialError
from medpipe.tuning.space import decode, distributions

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Search:
    """A study of `models.<name>` with its run in MLflow; `folder` holds what is under way here."""

    name: str
    task: str
    tuning: Tuning
    seed: int
    study: optuna.Study
    run: tracking.Run
    folder: Path

    @property
    def counted(self) -> list[FrozenTrial]:
        """All trials but those that were killed, in order; on a shared storage also those under way elsewhere."""
        killed = self.study.user_attrs
        return [trial for trial in self.study.get_trials(deepcopy=False) if f"killed/{trial.number}" not in killed]

    def best(self) -> FrozenTrial:
        """Raises InputError where no trial has come to its end."""
        if not self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            errors = {trial.user_attrs.get("error", "pruned") for trial in self.counted}
            raise InputError(f"{self.study.study_name}: no trial has come to its end; {'; '.join(sorted(errors))}")
        return self.study.best_trial

    def changes(self, trial: FrozenTrial) -> dict[str, Any]:
        """What it changed of the recipe, by dotted key."""
        return decode(self.tuning.space, trial.params)

    def go_on(self, trainer: Trainer) -> None:
        """Trials until there are as many as the settings say."""
        startup = self.tuning.sampler.startup
        while (number := len(self.counted)) < self.tuning.trials:
            self.study.sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=self.seed + number)
            self._trial(trainer)

    def _trial(self, trainer: Trainer) -> None:
        study, metric, started = self.study, self.tuning.metric, time.perf_counter()
        trial = study.ask(distributions(self.tuning.space))
        own = self.folder / str(trial.number)
        own.mkdir()
        changes = decode(self.tuning.space, trial.params)
        run = tracking.begin(self.task, f"trial {trial.number}", changes, {}, own, self.run)

        def on_epoch(epoch: int, numbers: dict[str, float]) -> bool:
            run.log_epoch(epoch, numbers)
            trial.report(numbers[metric], epoch)
            return not trial.should_prune()

        value, state = None, TrialState.PRUNED
        try:
            with run:
                found = trainer.train(changes, own / "state.npz", on_epoch)
                if found is not None:
                    value, state = found[metric], TrialState.COMPLETE
                    trial.set_user_attr("epoch", int(found["epoch"]))
                    trial.set_user_attr("made_by", provenance.kernels() | {"backend": trainer.facts["backend"]})
                    run.log_figure(f"best/{metric}", value, 0)
        except TrialError as error:
            state = TrialState.FAIL
            trial.set_user_attr("error", str(error))
        run.tag("trial", state.name.lower())
        told = study.tell(trial, value, state)
        shutil.rmtree(own)
        self._say(told, time.perf_counter() - started)

    def _say(self, trial: FrozenTrial, seconds: float) -> None:
        counted = self.counted
        what = {
            TrialState.COMPLETE: f"{self.tuning.metric} {trial.value} at epoch {trial.user_attrs.get('epoch')}",
            TrialState.PRUNED: f"pruned after epoch {trial.last_step}",
            TrialState.FAIL: f"failed: {trial.user_attrs.get('error')}",
        }[trial.state]
        print(f"trial {trial.number} ({len(counted)} of {self.tuning.trials}): {what}, {seconds:.1f} s", flush=True)
        print("  " + ", ".join(f"{key} {value}" for key, value in self.changes(trial).items()), flush=True)
        if any(other.state == TrialState.COMPLETE for other in counted):
            self.run.log_figure(f"best/{self.tuning.metric}", self.study.best_value, len(counted))

    def _end_killed(self) -> None:
        """End the trials that this repository began and did not end: their process was killed, or is about to end."""
        for own in self.folder.glob("[0-9]*"):
            number = int(own.name)
            if not self.study.get_trials(deepcopy=False)[number].state.is_finished():
                self.study.set_user_attr(f"killed/{number}", True)
                self.study.tell(number, state=TrialState.FAIL)
                if tracking.begun(own):
                    run = tracking.begin(self.task, "", {}, {}, own)
                    run.tag("trial", "killed")
                    run.kill()
            shutil.rmtree(own)


@contextmanager
def opened(
    name: str, tuning: Tuning, values: Mapping[str, Any], seed: int, facts: Mapping[str, Any]
) -> Iterator[Search]:
    """The search with these settings (`values`, of `params.read`), begun or gone on with. `facts` are the trainer's.

    It lies in the database that OPTUNA_STORAGE names, which machines may share, else in `<root>/optuna.db`. Another
    setting, code or data begins another one; another number of trials does not, nor another value of what is searched.
    Raises InputError where another process of this repository is at it, and where the database cannot be opened.
    """
    task = values["models"][name]["task"]
    settings = tuning.model_dump(mode="json", exclude={"trials"})
    settings["recipe"] = overrides.replace(overrides.full(values, name), dict.fromkeys(tuning.space))
    settings |= {"scale": values["scales"][values["scale"]], "train": values["train"], "seed": seed}
    settings["deterministic"] = values["deterministic"]
    digest = hashlib.sha256(json.dumps([settings, facts], sort_keys=True).encode()).hexdigest()
    root, study_name = store.root(), f"{name}-{digest[:12]}"
    folder = root / ".tmp" / "tuning" / study_name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            with FileLock(root / "optuna.db.lock"):  # two at once would both make the tables
                study = optuna.create_study(
                    storage=_storage(root),
                    pruner=optuna.pruners.MedianPruner(tuning.pruner.startup, tuning.pruner.warmup + 1),
                    study_name=study_name,
                    direction="minimize" if tuning.metric == "val_loss" else "maximize",
                    load_if_exists=True,
                )
            if record := study.user_attrs.get("run"):
                with atomic.file(folder / tracking.RECORD) as temporary:
                    temporary.write_text(json.dumps(record))
            tags = {**facts["tags"], "study": study_name}
            with tracking.begin(task, f"tune {name}", settings, tags, folder) as run:
                study.set_user_attr("run", run.record)
                search = Search(name, task, tuning, seed, study, run, folder)
                search._end_killed()
                try:
                    yield search
                finally:
                    search._end_killed()
    except Timeout:
        raise InputError(f"{study_name}: another process is at this study; wait for it") from None


def _storage(root: Path) -> optuna.storages.BaseStorage:
    address = os.environ.get("OPTUNA_STORAGE")
    try:
        return optuna.storages.get_storage(address or store.database(root / "optuna.db"))
    except Exception as error:  # SQLAlchemy's and each driver's own: no URL, no driver, no server, no right to it
        if not address:
            raise
        raise InputError(
            f"OPTUNA_STORAGE: names no database that can be opened ({str(error).splitlines()[0]}); it must be a URL, "
            "such as sqlite:////shared/optuna.db or postgresql://user:password@host/optuna"
        ) from None
