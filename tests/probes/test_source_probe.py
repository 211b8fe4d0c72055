"""A source is told where the embedding holds it within a class, and not where the class alone gives it away."""

import numpy as np
import pandas as pd
import pytest

from medpipe.probes import source
from medpipe.probes.alarm import above, null_area, raised


def rows(count=240):
    """Two classes, in which the sources A and B are mixed 5 to 1 and 1 to 5; two rows a group."""
    number = np.arange(count)
    label = number // 2 % 2
    other = number // 4 % 6 == 0
    return pd.DataFrame({"label": label, "source": np.where((label == 1) ^ other, "B", "A"), "group": number // 2})


def probed(embedding, table):
    found = source.probe(embedding.astype(np.float32), table, 3, 0.1, 200, 0)
    assert found is not None
    return found, above(found.estimates.values[source.TOLD], found.estimates.draws[source.TOLD], found.chance, 0.1)


def test_a_source_that_the_class_alone_tells_is_none_and_one_in_the_embedding_is_told():
    table, rng = rows(), np.random.default_rng(1)
    noise = rng.standard_normal((len(table), 4))
    by_class = noise + 3 * (table["label"] == 1).to_numpy()[:, None]
    found, p = probed(by_class, table)
    assert found.chance == 0.5
    assert set(found.classes) == {"0", "1"}
    assert p > 0.05
    found, p = probed(noise + 3 * (table["source"] == "B").to_numpy()[:, None], table)
    assert found.estimates.values[source.TOLD] > 0.9
    assert p < 1e-6


def test_sources_that_are_unknown_or_of_few_groups_do_not_count():
    table = rows()
    few = table.assign(source=np.where(table["group"] < 2, table["source"], "unknown"))
    assert source.probe(np.zeros((len(table), 2), np.float32), few, 3, 0.1, 50, 0) is None


def test_holm_decides_which_alarms_are_raised():
    found = raised({"blanked": 0.02, "border": 0.03, "source": None}, 0.95)
    assert found == {
        "blanked": (pytest.approx(0.04), True),
        "border": (pytest.approx(0.04), True),
        "source": (None, False),
    }
    assert not any(alarm for _, alarm in raised({"blanked": 0.03, "border": 0.04}, 0.95).values())
    assert above(1.0, np.array([np.nan]), 0.5, 0.1) is None
    assert above(1.0, np.full(5, 1.0), 0.5, null_area(30, 30)) < 1e-9
    assert above(1.0, np.full(5, 1.0), 0.5, null_area(1, 1)) > 0.05
    assert above(0.5, np.array([0.4, 0.6]), 0.5, 0.1) == pytest.approx(0.5)
