"""What dvc.yaml declares, as DVC itself resolves it."""

from pathlib import Path

import pytest
from dvc.repo import Repo

from medpipe.params import load


@pytest.fixture(scope="module")
def stages():
    with Repo(str(Path(__file__).parents[1])) as repo:
        return {stage.addressing: stage for stage in repo.index.stages}


def values(stage):
    """{file: keys} that a stage depends on."""
    return {str(dep): set(dep.params) for dep in stage.deps if hasattr(dep, "params")}


def test_compare_runs_again_where_a_probe_or_a_generator_is_removed(stages):
    """It keeps the alarm of a probe, and the pictures of a generator, for as long as the values name them."""
    for task in load().compare:
        declared = values(stages[f"compare@{task}"])
        assert "probes" in declared["evaluation.yaml"]
        assert "generators" in declared["generation.yaml"]


def test_explore_runs_again_where_the_archive_changes(stages):
    for task, declared in load().tasks.items():
        assert declared.archive in map(str, stages[f"explore@{task}"].deps)
