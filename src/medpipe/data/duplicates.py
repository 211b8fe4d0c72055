"""Images that are there twice under different ids, and the groups that they tie together."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 256
# By construction a perceptual hash has half of its bits set (those above the median), but that of a blank image, such
# as an MRI slice beyond the head, only one or none. Such hashes are all alike and would tie every patient to every
# other, so they tie nothing.
BLANK = 64
_BLOCK = 1 << 25  # pairs compared at a time: 128 MiB


def find(table: pd.DataFrame, near: int) -> pd.DataFrame:
    """The pairs of rows whose 256-bit hashes differ in `near` bits at most; equal files have equal hashes.

    `table` has a column `phash` (64 hexadecimal digits). The pairs are columns `left` and `right` (row positions,
    left < right) and `distance` (bits), ordered by position. Every row is compared with every other, as a matrix
    product of hashes in {-1, 1}: its entry is 256 less twice the distance, exact in float32.
    """
    signs = 2 * _bits(table["phash"].tolist()).astype(np.float32) - 1  # (n, 256)
    rows = np.flatnonzero(signs.sum(axis=1) >= 2 * BLANK - BITS)
    signs = signs[rows]
    found = []
    block = max(1, _BLOCK // max(1, len(rows)))  # rows with all others
    for start in range(0, len(rows), block):
        products = signs[start : start + block] @ signs[start:].T
        left, right = np.nonzero(products >= BITS - 2 * near)
        left, right = left[left < right], right[left < right]
        distance = (BITS - products[left, right]).astype(np.int64) // 2
        found.append(np.column_stack([rows[left + start], rows[right + start], distance]))
    return pd.DataFrame(np.concatenate([np.empty((0, 3), np.int64), *found]), columns=["left", "right", "distance"])


def merge(groups: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """The groups after joining those that a pair ties together, over any number of steps; named after the first."""
    codes, names = pd.factorize(groups, sort=True)
    ties = (np.ones(len(pairs)), (codes[pairs["left"]], codes[pairs["right"]]))
    _, component = connected_components(coo_array(ties, shape=(len(names), len(names))), directed=False)
    first = pd.Series(np.asarray(names)).groupby(component).transform("min").to_numpy()
    return pd.Series(first[codes], index=groups.index, name=groups.name)


def _bits(hashes: Sequence[str]) -> np.ndarray:
    """(n, 256) uint8 in {0, 1}."""
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), BITS // 8)
    return np.unpackbits(packed, axis=1)
