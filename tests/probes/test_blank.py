"""Blanking takes the region out of every image alike, and leaves the rest bit for bit."""

import json

import numpy as np
import pytest

from medpipe.data.arrays import Arrays
from medpipe.errors import InputError
from medpipe.probes import blank


@pytest.fixture
def prepared(tmp_path):
    """Ten images of noise, of which the first five train; masks that mark two pixels of rows 1 and 7."""
    folder, rng = tmp_path / "prepared", np.random.default_rng(0)
    folder.mkdir()
    np.save(folder / "inputs.npy", rng.integers(256, size=(10, 8, 12, 3), dtype=np.uint8))
    masks = np.zeros((10, 8, 12), np.uint8)
    masks[1, 2, 3] = masks[7, 5, 5] = 1
    np.save(folder / "masks.npy", masks)
    meta = {"ids": [str(i) for i in range(10)], "variant": {}, "features": [], "digest": ""}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize("box", [0.5, None])
def test_the_region_has_the_training_images_mean_and_the_rest_is_as_it_was(prepared, tmp_path, box):
    before, train = Arrays(prepared), np.arange(5)
    region = blank.region(before, train, box)
    blank.write(before, prepared, tmp_path / "blanked", region, train)
    after = Arrays(tmp_path / "blanked")
    assert after.ids == before.ids
    np.testing.assert_array_equal(after.inputs[:, ~region], before.inputs[:, ~region])
    mean = np.round(before.inputs[train].mean((0, 1, 2)))
    assert (after.inputs[:, region] == mean).all()


def test_a_box_is_in_the_middle_and_masks_are_those_of_training_rows(prepared):
    arrays = Arrays(prepared)
    box = blank.region(arrays, np.arange(5), 0.5)
    assert box.sum() == 4 * 6
    np.testing.assert_array_equal(box, box[::-1, ::-1])
    assert np.argwhere(blank.region(arrays, np.arange(5), None)).tolist() == [[2, 3]]


def test_without_masks_the_region_must_be_a_box(prepared):
    (prepared / "masks.npy").unlink()
    with pytest.raises(InputError, match="no masks .*give probes.<task>.box a share"):
        blank.region(Arrays(prepared), np.arange(5), None)
