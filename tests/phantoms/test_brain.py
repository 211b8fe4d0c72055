import csv
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from medpipe.params import BrainPhantom
from medpipe.phantoms import brain


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brain")
    brain.write(folder, BrainPhantom(seed=2, patients=24, slices=12, size=96))
    return folder / "kaggle_3m"


@pytest.fixture(scope="module")
def patients(archive):
    """{folder: (slices (n, h, w, 3), masks (n, h, w))} in the slices' order."""
    stacks = {}
    for folder in sorted(path for path in archive.iterdir() if path.is_dir()):
        count = len(list(folder.iterdir())) // 2
        names = [folder / f"{folder.name}_{k + 1}" for k in range(count)]
        stacks[folder.name] = tuple(
            np.stack([np.asarray(Image.open(f"{name}{end}.tif")) for name in names]) for end in ("", "_mask")
        )
    return stacks


def test_layout(archive, patients):
    assert len(patients) == 24
    assert all(re.fullmatch(r"TCGA_(CS|DU|FG|HT)_\d{4}_(19|20)\d{6}", name) for name in patients)
    assert len({name.split("_")[1] for name in patients}) == 4
    with (archive / "data.csv").open() as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == brain.COLUMNS
    assert [row[0] for row in rows] == [name.rsplit("_", 1)[0] for name in patients]
    assert any("" in row for row in rows)
    listed = pd.read_csv(archive / "data_mask.csv")
    assert tuple(listed) == brain.LISTING
    files = [f"{name}/{name}_{k + 1}.tif" for name, (_, masks) in patients.items() for k in range(len(masks))]
    assert listed["image_path"].tolist() == files
    assert listed["mask_path"].tolist() == [file.replace(".tif", "_mask.tif") for file in files]
    assert listed["mask"].tolist() == [int(mask.any()) for _, masks in patients.values() for mask in masks]
    agree = [path.startswith(f"{p}_") for p, path in zip(listed["patient_id"], files, strict=True)]
    assert np.mean(agree) < 0.1  # as in the public file
    path = next(archive.glob("TCGA*/*_1.tif"))
    with Image.open(path) as image, Image.open(path.with_name(f"{path.stem}_mask.tif")) as mask:
        assert (image.mode, image.size, image.info["compression"]) == ("RGB", (96, 96), "tiff_adobe_deflate")
        assert (mask.mode, mask.size) == ("L", (96, 96))


def test_tumour_lies_on_one_run_of_slices_with_healthy_ones_on_both_sides(patients):
    with_tumour, sizes = [], []
    for slices, masks in patients.values():
        assert slices.shape[:3] == masks.shape
        assert set(np.unique(masks)) == {0, 255}
        present = masks.any(axis=(1, 2))
        assert np.abs(np.diff(present.astype(int))).sum() == 2  # off, on, off
        assert not present[0]
        assert not present[-1]
        with_tumour.append(present)
        sizes.extend((masks[present] > 0).mean(axis=(1, 2)))
    assert 0.33 < np.concatenate(with_tumour).mean() < 0.47
    assert 0.02 < np.median(sizes) < 0.04
    assert len({len(present) for present in with_tumour}) > 3
    assert np.mean([len(present) for present in with_tumour]) == pytest.approx(12, abs=1)


def test_no_slice_comes_twice(patients):
    slices = [image.tobytes() for stack, _ in patients.values() for image in stack]
    assert len(set(slices)) == len(slices)


def test_tumour_is_bright_in_flair(patients):
    """What a model has to find: in the slice, and by its brightest FLAIR against the other channels."""
    truth, score = [], []
    for slices, masks in patients.values():
        flair = slices[..., 1].astype(float)
        # Against the patient's own usual contrast, for scanners differ.
        excess = flair - slices[..., 0]
        excess -= np.median(excess[flair > 40])
        truth.extend(masks.any(axis=(1, 2)))
        score.extend(np.quantile(excess, 0.99, axis=(1, 2)))
        inside = masks > 0
        brain_only = (flair > 60) & ~inside
        assert flair[inside].mean() > flair[brain_only].mean() + 15
    assert 0.8 < roc_auc_score(truth, score) <= 1


def test_same_bytes_again(written_twice):
    one, two = written_twice(brain.write, BrainPhantom(seed=3, patients=3, slices=5, size=48))
    assert one == two
    assert len(one) > 3 * 4 * 2
