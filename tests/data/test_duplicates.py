import time

import numpy as np
import pandas as pd
import pytest
from manifests import flipped, hashes, hexadecimal

from medpipe.data import duplicates


def found(bits, near):
    pairs = duplicates.find(pd.DataFrame({"phash": hexadecimal(bits)}), near)
    return [tuple(pair) for pair in pairs.itertuples(index=False)]


def pairs_of(*pairs):
    return pd.DataFrame([(*pair, 0) for pair in pairs], columns=["left", "right", "distance"])


def test_pairs_up_to_the_threshold_and_not_beyond():
    one, other = hashes(2)
    bits = np.array([one, other, flipped(one, 10), flipped(other, 12), one])
    assert found(bits, 9) == [(0, 4, 0)]
    assert found(bits, 10) == [(0, 2, 10), (0, 4, 0), (2, 4, 10)]
    assert found(bits, 12) == [(0, 2, 10), (0, 4, 0), (1, 3, 12), (2, 4, 10)]
    assert found(bits, 0) == [(0, 4, 0)]


def test_distances_agree_with_a_count_of_bits_across_blocks(monkeypatch):
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    bits = hashes(50, seed=3)
    expected = {(i, j, int((bits[i] != bits[j]).sum())) for i in range(50) for j in range(i + 1, 50)}
    assert set(found(bits, 120)) == {pair for pair in expected if pair[2] <= 120}
    assert 0 < len(found(bits, 120)) < len(expected)


def test_blank_images_tie_nothing_though_their_hashes_are_equal():
    blank = np.zeros((4, 256), np.uint8)
    blank[2:, 0] = 1  # of a single grey: the mean alone is above the median
    assert found(blank, 24) == []
    assert found(np.concatenate([blank, hashes(1), hashes(1)]), 24) == [(4, 5, 0)]


@pytest.mark.parametrize("count", [0, 1])
def test_few_rows(count):
    assert found(hashes(count), 256) == []


def test_groups_merge_over_several_steps_into_the_first_name():
    groups = pd.Series(["d", "b", "c", "a", "e", "e"])
    assert duplicates.merge(groups, pairs_of((0, 1), (1, 2))).tolist() == ["b", "b", "b", "a", "e", "e"]
    assert duplicates.merge(groups, pairs_of((0, 4), (5, 3))).tolist() == ["a", "b", "c", "a", "a", "a"]
    assert duplicates.merge(groups, pairs_of((4, 5))).tolist() == groups.tolist()
    assert duplicates.merge(groups, pairs_of()).tolist() == groups.tolist()


def test_ham10000_size_takes_seconds():
    bits = hashes(10_015)
    bits[9_000] = flipped(bits[17], 4)
    started = time.perf_counter()
    assert found(bits, 24) == [(17, 9_000, 4)]
    assert time.perf_counter() - started < 30
