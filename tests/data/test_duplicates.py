import time
from io import BytesIO
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from imagehash import phash
from manifests import flipped, hashes, hexadecimal, turned
from PIL import Image

from medpipe.data import duplicates
from medpipe.phantoms.skin_drawing import draw_lesion, photograph


def found(digits, near):
    pairs = duplicates.find(pd.DataFrame({"phash": digits}), near)
    return [tuple(pair) for pair in pairs.itertuples(index=False)]


def alike(bits, near):
    """Of images that are compared as they are."""
    pairs = found(hexadecimal(bits), near)
    assert {pair[3] for pair in pairs} <= {"as it is"}
    return [pair[:3] for pair in pairs]


def pairs_of(*pairs):
    return pd.DataFrame([(*pair, 0) for pair in pairs], columns=["left", "right", "distance"])


def test_pairs_up_to_the_threshold_and_not_beyond():
    one, other = hashes(2)
    bits = np.array([one, other, flipped(one, 10), flipped(other, 12), one])
    assert alike(bits, 9) == [(0, 4, 0)]
    assert alike(bits, 10) == [(0, 2, 10), (0, 4, 0), (2, 4, 10)]
    assert alike(bits, 12) == [(0, 2, 10), (0, 4, 0), (1, 3, 12), (2, 4, 10)]
    assert alike(bits, 0) == [(0, 4, 0)]


@pytest.mark.parametrize("near", [0, 4, 12, 24, 25, 40])
def test_no_pair_is_missed_whichever_bits_differ(monkeypatch, near):
    """As many rows as make hundreds of pairs on both sides of the threshold, in any orientation and in small blocks."""
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    rng = np.random.default_rng(near)
    bits = hashes(8 * 12, seed=3).reshape(12, 8, 256)
    copies = np.stack([bits[i % 12] ^ (rng.random((8, 256)) < rng.uniform(0, 0.1)) for i in range(48)])
    copies[::2] = copies[::2, rng.permutation(8)]
    table = np.concatenate([bits, copies]).astype(np.uint8)
    one_way = (table[:, :, None, :] != table[None, None, :, 0]).sum(axis=-1)  # (n, 8, n)
    least = np.minimum(one_way.min(axis=1), one_way.min(axis=1).T)
    expected = [(i, j, least[i, j]) for i, j in combinations(range(len(table)), 2) if least[i, j] <= near]
    digits = [np.packbits(row).tobytes().hex() for row in table]
    assert [pair[:3] for pair in found(digits, near)] == expected
    assert near < 12 or 10 < len(expected) < 1000


def drawn(count):
    for i in range(count):
        rng = np.random.default_rng(i)
        yield photograph(rng, draw_lesion(rng, "nv")).resize((200, 150))


WAYS = [*Image.Transpose]  # what Pillow calls them


def test_hashes_are_those_of_imagehash_in_each_orientation():
    for image in drawn(3):
        small = image.convert("L").resize((64, 64), Image.Resampling.LANCZOS)
        views = {str(phash(view, hash_size=16)) for view in (small, *(small.transpose(way) for way in WAYS))}
        digits = duplicates.hashes(image)
        assert digits[:64] == str(phash(image, hash_size=16))
        assert {digits[start : start + 64] for start in range(0, 512, 64)} == views
        assert len(views) == 8


def test_every_turned_copy_is_found_though_compressed_anew_and_nothing_else():
    images = list(drawn(14))
    digits = [duplicates.hashes(image) for image in images]
    for image, way in zip(images, 2 * WAYS, strict=True):
        file = BytesIO()
        image.transpose(way).save(file, "JPEG", quality=60)
        digits.append(duplicates.hashes(Image.open(file)))
    pairs = found(digits, 24)
    assert [pair[:2] for pair in pairs] == [(i, i + 14) for i in range(14)]
    assert [pair[3] for pair in pairs] == [
        "turned" if way.name.startswith("ROTATE") else "mirrored" for way in 2 * WAYS
    ]


def test_the_order_of_rows_changes_no_pair():
    bits = hexadecimal(hashes(9))
    bits[4], bits[7] = turned(bits[1], 2), turned(bits[1], 6)
    pairs = {(frozenset(pair[:2]), *pair[2:]) for pair in found(bits, 24)}
    again = {(frozenset(8 - i for i in pair[:2]), *pair[2:]) for pair in found(bits[::-1], 24)}
    assert again == pairs == {(frozenset({1, 4}), 0, "mirrored"), (frozenset({1, 7}), 0, "turned")}


def test_blank_images_tie_nothing_though_their_hashes_are_equal():
    blank = np.zeros((4, 256), np.uint8)
    blank[2:, 0] = 1  # of a single grey: the mean alone is above the median
    assert alike(blank, 24) == []
    assert alike(np.concatenate([blank, hashes(1), hashes(1)]), 24) == [(4, 5, 0)]


@pytest.mark.parametrize("count", [0, 1])
def test_few_rows(count):
    assert alike(hashes(count), 40) == []


def test_groups_merge_over_several_steps_into_the_first_name():
    groups = pd.Series(["d", "b", "c", "a", "e", "e"])
    assert duplicates.merge(groups, pairs_of((0, 1), (1, 2))).tolist() == ["b", "b", "b", "a", "e", "e"]
    assert duplicates.merge(groups, pairs_of((0, 4), (5, 3))).tolist() == ["a", "b", "c", "a", "a", "a"]
    assert duplicates.merge(groups, pairs_of((4, 5))).tolist() == groups.tolist()
    assert duplicates.merge(groups, pairs_of()).tolist() == groups.tolist()


def test_ham10000_size_takes_seconds():
    bits = hashes(10_015)
    bits[9_000] = flipped(bits[17], 4)
    digits = hexadecimal(bits)
    started = time.perf_counter()
    assert found(digits, 24) == [(17, 9_000, 4, "as it is")]
    assert time.perf_counter() - started < 30
