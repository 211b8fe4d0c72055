"""The space that `tuning.yaml` declares for a model: what of it is refused, and what Optuna makes of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from medpipe import overrides, recipe
from medpipe.errors import InputError
from medpipe.params import (
    Choices,
    Dimension,
    EarlyStopping,
    Floats,
    Integers,
    Params,
    Tuning,
    checked,
    read_file,
    validated,
)
from medpipe.training.selection import cost

# Another value of these is another task: no trial could be compared with another.
_FIXED = ("task", "architecture", "inputs", "merge", "only", "folds")


def load(path: Path, name: str, values: Mapping[str, Any]) -> Tuning:
    """The search for `models.<name>` of `values`, what `params.read` gives.

    Raises InputError with the full key for whatever would make a trial fail or two trials no match for each other.
    """
    sections = read_file(path)
    for where, known in ((str(path), sections), ("params.yaml: models", values["models"])):
        if name not in known:
            raise InputError(f"{where}: no {name!r}; there are {', '.join(known)}")
    tuning = validated(Tuning, sections[name], str(path), name)
    params = checked(values)
    segments = params.models[name].architecture == "resunet"
    if tuning.metric != "val_loss" and (tuning.metric == "val_dice") is not segments:
        right = "val_dice" if segments else "val_accuracy"
        raise InputError(f"{path}: {name}.metric: {name} has no {tuning.metric}; take val_loss or {right}")
    if params.models[name].folds is not None:
        raise InputError(f"params.yaml: models.{name}.folds: a model is tuned on the split; set it to null meanwhile")
    for key, dimension in tuning.space.items():
        try:
            _check(key, dimension, tuning.metric, name, values)
        except InputError as error:
            raise InputError(f"{path}: {name}.space.{key}: {error}") from None
    return tuning


def _check(key: str, dimension: Dimension, metric: str, name: str, values: Mapping[str, Any]) -> None:
    section = key.partition(".")[0]
    if section in _FIXED:
        raise InputError(f"{section} must be the same in all trials; make a recipe of its own for another")
    if section == "loss" and metric == "val_loss":
        raise InputError("values of different losses say nothing about each other; choose another metric")
    recipes = []
    for value in dimension.ends:
        params = validated(Params, overrides.change(values, name, {key: value}), f"with {value!r}")
        found = recipe.resolve(params, name)
        if found in recipes:
            raise InputError(
                f"{value!r} comes to the same as another value at scale {params.scale} and under `train`; search "
                "something else or change the scale"
            )
        recipes.append(found)


def distributions(space: Mapping[str, Dimension]) -> dict[str, BaseDistribution]:
    """The space as Optuna has it. Choices are JSON: it takes no lists."""
    return {key: _distribution(dimension) for key, dimension in space.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    match dimension:
        case Choices():
            return CategoricalDistribution([json.dumps(choice) for choice in dimension.choices])
        case Integers():
            low, high = dimension.ends
            return IntDistribution(low, high, step=dimension.step)
        case Floats():
            return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def decode(space: Mapping[str, Dimension], drawn: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's parameters as changes of the recipe."""
    return {key: json.loads(drawn[key]) if isinstance(space[key], Choices) else drawn[key] for key in space}


def kept(history: pd.DataFrame, rule: EarlyStopping | None) -> dict[str, float]:
    """Of a training's history the epoch whose weights it keeps, by its recipe's `rule`, and its numbers."""
    numbers = history.drop(columns="phase")
    row = numbers.iloc[int(numbers.apply(cost, axis=1, args=(rule,)).argmin())]
    return {str(key): float(value) for key, value in row.items()}
