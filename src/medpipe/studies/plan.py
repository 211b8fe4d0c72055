"""The experiments that a study asks for: each row with each of its seeds."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medpipe.data.vocabulary import merged_classes
from medpipe.errors import InputError
from medpipe.overrides import arguments, change
from medpipe.params import Params, Row, Study, validated


@dataclass(frozen=True)
class Experiment:
    """One training: what DVC calls it, what its files say, and what `--set-param` takes to say so."""

    name: str
    row: str
    model: str
    seed: int
    params: Mapping[str, Any]
    overrides: tuple[str, ...]


def plan(name: str, study: Study, values: Mapping[str, Any]) -> list[Experiment]:
    """The study's experiments, the further seeds of a row behind all rows' first ones.

    `values`: what `params.read` gives. Raises InputError, by full key, for a row that params.yaml cannot hold, or whose
    model answers another question than the baseline's.
    """
    where = f"studies.yaml: {name}"
    if study.scale not in values["scales"]:
        raise InputError(f"{where}.scale: {study.scale!r} is none of scales: {', '.join(values['scales'])}")
    changed = {row: _changed(f"{where}.rows.{row}", study, study.rows[row], values) for row in study.rows}
    _check_classes(where, study, changed)
    seeds = [(row, seed) for row in study.rows for seed in study.seeds]
    seeds += [(row, seed) for row in study.rows for seed in study.repeats.get(row, ())]
    return [_experiment(name, study, row, seed, values, changed[row][0]) for row, seed in seeds]


def _changed(where: str, study: Study, row: Row, values: Mapping[str, Any]) -> tuple[dict[str, Any], Params]:
    """`values` with the row's changes, as they would stand in the files and as settings."""
    model = values["models"].get(row.model)
    if model is None or model["task"] != study.task:
        raise InputError(f"{where}.model: {row.model!r} is no {study.task} model in models of params.yaml")
    try:
        changed = change(values, row.model, row.set) | {"scale": study.scale}
        arguments(values, row.model, row.set)
    except InputError as error:
        raise InputError(f"{where}.set: {error}") from None
    params = validated(Params, changed, f"{where}.set")
    if (params.models[row.model].architecture == "resunet") != (study.metric == "dice"):
        raise InputError(f"{where}.model: {row.model} has no {study.metric}; choose another metric or model")
    return changed, params


def _check_classes(where: str, study: Study, changed: Mapping[str, tuple[dict[str, Any], Params]]) -> None:
    """InputError unless all rows know the same classes, after those of compare.<task>.merge are one."""
    merge = next(iter(changed.values()))[1].compare[study.task].merge
    new_name = {old: new for new, olds in merge.items() for old in olds}
    known = {
        row: {
            new_name.get(c, c)
            for c in merged_classes(params.tasks[study.task].classes, params.models[study.rows[row].model].merge)
        }
        for row, (_, params) in changed.items()
    }
    for row, classes in known.items():
        if classes != known[study.baseline]:
            raise InputError(
                f"{where}.rows.{row}: knows {', '.join(sorted(classes))}, but the baseline {study.baseline} "
                f"{', '.join(sorted(known[study.baseline]))}; make them alike in compare.{study.task}.merge"
            )


def _experiment(
    name: str, study: Study, row: str, seed: int, values: Mapping[str, Any], changed: dict[str, Any]
) -> Experiment:
    model = study.rows[row].model
    params = copy.deepcopy(changed) | {"seed": seed}
    overrides = [f"scale={study.scale}", f"seed={seed}"]
    overrides += arguments(values, model, study.rows[row].set)
    return Experiment(f"{name}-{row}-{seed}", row, model, seed, params, tuple(overrides))
