"""Images that are there twice under different ids, be it mirrored or turned, and the groups that they tie together."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 256
DIGITS = BITS // 4  # of a hash, hexadecimal
# By construction a perceptual hash has half of its bits set (those above the median), but that of a blank image, such
# as an MRI slice beyond the head, only one or none. Such hashes are all alike and would tie every patient to every
# other, so they tie nothing.
BLANK = 64
ORIENTATIONS = ("as it is", *3 * ("mirrored",), *3 * ("turned",), "mirrored")  # the eight of `hashes`
_SIDE, _WAVES = 64, 16  # pixels of a thumbnail's side, and its lowest frequencies along it that a hash looks at
_BANDS = 13  # of 19 or 20 bits: a million buckets each, so that an archive's images seldom share one by chance
_BLOCK = 1 << 20  # candidates compared at a time: 128 MiB

Rows = npt.NDArray[np.int64]


def hashes(image: Image.Image) -> str:
    """The perceptual hashes of an image in its eight ORIENTATIONS, DIGITS hexadecimal digits each, one after another.

    The first is `imagehash.phash(image, hash_size=16)`: which waves of a thumbnail's cosine transform are above their
    median. To mirror the thumbnail changes the odd waves' signs, so that one transform tells all eight.
    """
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    waves = dctn(np.asarray(small, np.float64))[:_WAVES, :_WAVES]  # (down, across)
    odd = (-1.0) ** np.arange(_WAVES)
    sides, ends, both = waves * odd, waves * odd[:, None], waves * odd * odd[:, None]
    views = np.stack([waves, sides, ends, waves.T, both, sides.T, ends.T, both.T])
    return np.packbits(views > np.median(views, axis=(1, 2), keepdims=True)).tobytes().hex()


def find(table: pd.DataFrame, near: int) -> pd.DataFrame:
    """The pairs of rows that show the same: in some orientation their 256-bit hashes differ in `near` bits at most.

    `table` has a column `phash` (as `hashes` gives it). The pairs are columns `left` and `right` (row positions,
    left < right), `distance` (bits) and `orientation` (of one against the other, one of ORIENTATIONS), ordered by
    position. All eight hashes of each row are looked up among the first ones of all rows.

    No pair is missed, and no row is compared with all others: multi-index hashing (Norouzi, Punjani, Fleet 2014, arXiv
    1307.2982). Two hashes that differ in near = 13 radius + rest bits at most differ in `radius` bits at most in one
    of the bands 0 to rest, or in less in a later one; those that do are the candidates, and few of them are by chance.
    """
    packed = np.frombuffer(bytes.fromhex("".join(table["phash"])), np.uint8)
    packed = packed.reshape(len(table), len(ORIENTATIONS), BITS // 8)
    rows = np.flatnonzero(np.bitwise_count(packed[:, 0]).sum(axis=1) >= BLANK)
    packed = packed[rows]
    words = packed.view(np.uint64)  # (n, 8, 4)
    radius, rest = divmod(near, _BANDS)
    columns = ["left", "right", "distance", "orientation"]
    pairs = pd.DataFrame(columns=columns, dtype=np.int64)
    for band in range(_BANDS):
        found = [pairs.to_numpy()]
        for row, orientation, other in _candidates(packed, band, radius if band <= rest else radius - 1):
            distance = np.bitwise_count(words[row, orientation] ^ words[other, 0]).sum(axis=1, dtype=np.int64)
            ends = rows[np.minimum(row, other)], rows[np.maximum(row, other)]
            same = (distance <= near) & (row != other)
            found.append(np.column_stack([*ends, distance, orientation])[same])
        pairs = pd.DataFrame(np.concatenate(found), columns=columns).sort_values(columns)
        pairs = pairs.drop_duplicates(columns[:2], ignore_index=True)  # the nearest orientation
    return pairs.assign(orientation=np.array(ORIENTATIONS)[pairs["orientation"]])


def _candidates(packed: npt.NDArray[np.uint8], band: int, radius: int) -> Iterator[tuple[Rows, Rows, Rows]]:
    """Blocks of rows, orientations and other rows, of hashes (n, 8, 32) that differ in `radius` bits of a band at most.

    A band is every 13th bit, because neighbours vary together.
    """
    places = range(band, BITS, _BANDS)
    keys = np.zeros(packed.shape[:2], np.int64)
    for place in places:
        keys = keys << 1 | packed[:, :, place // 8] >> (7 - place % 8) & 1
    order = np.argsort(keys[:, 0], kind="stable")
    held = np.bincount(keys[:, 0], minlength=1 << len(places))
    some, ends = held > 0, held.cumsum()
    for flipped in (chosen for count in range(radius + 1) for chosen in combinations(range(len(places)), count)):
        wanted = keys ^ sum(1 << bit for bit in flipped)
        row, orientation = np.nonzero(some[wanted])
        bucket = wanted[row, orientation]
        sizes, last = held[bucket], ends[bucket] - 1
        for part in np.split(np.arange(len(row)), np.flatnonzero(np.diff(sizes.cumsum() // _BLOCK)) + 1):
            again = np.repeat(part, sizes[part])
            back = np.repeat(sizes[part].cumsum(), sizes[part]) - 1 - np.arange(len(again))  # from the bucket's last
            yield row[again], orientation[again], order[last[again] - back]


def merge(groups: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """The groups after joining those that a pair ties together, over any number of steps; named after the first."""
    codes, names = pd.factorize(groups, sort=True)
    ties = (np.ones(len(pairs)), (codes[pairs["left"]], codes[pairs["right"]]))
    _, component = connected_components(coo_array(ties, shape=(len(names), len(names))), directed=False)
    first = pd.Series(np.asarray(names)).groupby(component).transform("min").to_numpy()
    return pd.Series(first[codes], index=groups.index, name=groups.name)
