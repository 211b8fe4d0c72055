"""Manifests as ingest writes them, without archives."""

import numpy as np
import pandas as pd

from medpipe.data.features import UNKNOWN


def hashes(n, seed=0):
    """(n, 256) bits, 128 of them set, as a perceptual hash has; two of them differ in about 128."""
    return np.random.default_rng(seed).permuted(np.tile([0, 1], (n, 128)), axis=1).astype(np.uint8)


def flipped(bits, count):
    """A copy that differs in `count` (even) bits, of which half were set."""
    places = np.concatenate([np.flatnonzero(bits == value)[: count // 2] for value in (0, 1)])
    copy = bits.copy()
    copy[places] ^= 1
    return copy


def hexadecimal(bits):
    """As ingest writes them: the hashes (n, 256) of images as they are, each before those of its other orientations."""
    others = hashes(7 * len(bits), seed=10_000).reshape(-1, 7 * 256)
    return [np.packbits(row).tobytes().hex() for row in np.concatenate([bits, others], axis=1)]


def turned(digits, orientation):
    """The hashes of a copy that lies as `orientation` (0 to 7) of an image with the hashes `digits`."""
    return (
        digits[64 * orientation : 64 * (orientation + 1)]
        + np.packbits(hashes(7, seed=int(digits[:12], 16))).tobytes().hex()
    )


def skin(labels, groups, seed=0, **columns):
    """One row a label and group; ages, sexes and localizations drawn."""
    rng, n = np.random.default_rng(seed), len(labels)
    values = {
        "id": [f"ISIC_{i:07d}" for i in range(n)],
        "path": [f"part_1/ISIC_{i:07d}.jpg" for i in range(n)],
        "sha256": [f"{i:064x}" for i in range(n)],
        "bytes": 4000,
        "width": 600,
        "height": 450,
        "phash": hexadecimal(hashes(n, seed)),
        "label": list(labels),
        "group": list(groups),
        "grouped": True,
        "source": "ham10000",
        "mask_path": "",
        "mask_sha256": "",
        "dx_type": rng.choice(["histo", "follow_up"], n),
        "age": rng.integers(0, 18, n) * 5.0,
        "sex": rng.choice(["male", "female"], n),
        "localization": rng.choice(["back", "face", "lower extremity"], n),
    }
    return pd.DataFrame(values | columns)


def brain(patients, slices):
    """The last third of each patient's slices hold tumour."""
    places = [(f"TCGA_CS_{p:04d}", k) for p in range(patients) for k in range(slices)]
    table = skin(["tumour" if 3 * k >= 2 * slices else "healthy" for _, k in places], [p for p, _ in places])
    table = table.drop(columns=["dx_type", "age", "sex", "localization"]).assign(source="CS", site="CS")
    ids = [f"{patient}_{k}" for patient, k in places]
    masks = {"mask_path": [f"{i}_mask.tif" for i in ids], "mask_sha256": [f"{i:064x}" for i in range(len(ids))]}
    return table.assign(id=ids, **masks, patient=table["group"], slice=1)


def random_skin(seed):
    """Classes of 4 to 80 lesions with 1 to 4 photographs each, in any order; some metadata unknown."""
    rng = np.random.default_rng(seed)
    lesions = [(label, f"HAM_{label}_{i}") for label in ("nv", "mel", "df") for i in range(rng.integers(4, 80))]
    rows = [lesion for lesion in lesions for _ in range(rng.integers(1, 5))]
    rng.shuffle(rows)
    table = skin([label for label, _ in rows], [group for _, group in rows], seed)
    table.loc[rng.random(len(table)) < 0.1, "age"] = np.nan
    table.loc[rng.random(len(table)) < 0.1, "sex"] = UNKNOWN
    return table
