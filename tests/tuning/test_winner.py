"""Where a trial and its experiment are asked for the same bits."""

from types import SimpleNamespace

import pytest

from medpipe import provenance
from medpipe.tuning.winner import disagreement

BY = provenance.kernels() | {"backend": "jax 1"}
SEARCH = SimpleNamespace(
    tuning=SimpleNamespace(metric="val_loss"), best=lambda: SimpleNamespace(value=0.5, user_attrs={"made_by": BY})
)
NEXT = 0.5000000000000001


def test_the_same_processor_and_libraries_must_give_the_same_bits():
    assert disagreement(SEARCH, 0.5, BY, deterministic=True) == ""
    with pytest.raises(RuntimeError, match="val_loss is 0.5000000000000001, the trial's 0.5, so neither"):
        disagreement(SEARCH, NEXT, BY, deterministic=True)


@pytest.mark.parametrize("key", ["processor", "backend", "numpy"])
def test_others_may_differ_and_both_figures_are_said(key):
    said = disagreement(SEARCH, NEXT, BY | {key: "another"}, deterministic=True)
    assert said.startswith("the experiment's val_loss is 0.5000000000000001, the trial's 0.5 (")
    assert f"{key}: {BY[key]}, then another" in said
    assert disagreement(SEARCH, NEXT, BY, deterministic=False).endswith("(not deterministic)")
