import json

import numpy as np
import pandas as pd
import pytest

from medpipe.data.arrays import Arrays, Dealt, channel_statistics, load_task, targets
from medpipe.data.vocabulary import merged_classes
from medpipe.errors import InputError

CHEST = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
OTHER = {"other": ["Lung_Opacity", "Viral Pneumonia"]}


@pytest.fixture
def prepared(tmp_path):
    """prepared(ids, masks): a prepared folder whose images hold their row's number."""

    def write(ids, masks=None, name="prepared", rows=None):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        images = np.zeros((len(ids) if rows is None else rows, 2, 2, 3), np.uint8)
        images += np.arange(len(images), dtype=np.uint8)[:, None, None, None]
        np.save(folder / "inputs.npy", images)
        if masks is not None:
            np.save(folder / "masks.npy", np.ones((masks, 2, 2), np.uint8))
        meta = {"ids": ids, "variant": {"sizes": [2]}, "features": [], "digest": "ab"}
        (folder / "meta.json").write_text(json.dumps(meta))
        return folder

    return write


@pytest.fixture
def split_folder(tmp_path):
    pd.DataFrame({"id": ["a", "b"], "set": ["train", "test"]}).to_parquet(tmp_path / "rows.parquet")
    return tmp_path


def test_arrays_are_mapped_and_read_only(prepared):
    arrays = Arrays(prepared(["a", "b"], masks=2))
    assert arrays.masks is not None
    for array in (arrays.inputs, arrays.masks):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7
    assert arrays.inputs[:, 0, 0, 0].tolist() == [0, 1]
    assert (arrays.ids, arrays.variant, arrays.features) == (["a", "b"], {"sizes": [2]}, [])
    assert (arrays.name, arrays.digest) == ("prepared", "ab")


def test_a_folder_that_is_not_whole_is_named(prepared, tmp_path):
    for folder in (prepared(["a"], rows=2), prepared(["a"], masks=2, name="masks")):
        with pytest.raises(InputError, match=f"{folder}: 2 rows for 1 ids; run"):
            Arrays(folder)
    with pytest.raises(InputError, match="no whole prepared folder"):
        Arrays(tmp_path / "none")
    folder = prepared(["a"], name="cut")
    (folder / "inputs.npy").write_bytes((folder / "inputs.npy").read_bytes()[:-1])
    with pytest.raises(InputError, match="cut: no whole prepared folder"):
        Arrays(folder)
    folder = prepared(["a"], name="old")
    (folder / "meta.json").write_text("{}")
    with pytest.raises(InputError, match="old: no whole prepared folder"):
        Arrays(folder)


def test_split_and_arrays_of_the_same_ids(prepared, split_folder):
    folders = [prepared(["a", "b"]), prepared(["a", "b"], masks=2, name="second")]
    rows, [first, second] = load_task(split_folder, folders)
    assert rows["set"].tolist() == ["train", "test"]
    assert (first.masks is None, second.masks is None) == (True, False)


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["a", "c"], "2 differ, first b"), (["a"], "1 differ, first b"), (["b", "a"], "first the order")],
)
def test_other_ids_are_refused(prepared, split_folder, ids, message):
    with pytest.raises(InputError, match=message):
        load_task(split_folder, [prepared(["a", "b"]), prepared(ids, name="stale")])


def test_merged_classes_stand_behind_the_others():
    assert merged_classes(CHEST, {}) == CHEST
    assert merged_classes(CHEST, OTHER) == ("COVID", "Normal", "other")
    assert merged_classes("abcd", {"y": ["c"], "x": ["a", "d"]}) == ("b", "y", "x")
    assert merged_classes("abc", {"a": ["a", "b"]}) == ("c", "a")


@pytest.mark.parametrize("merge", [{"x": ["e"]}, {"x": ["a"], "y": ["a"]}, {"x": ["a", "a"]}, {"b": ["a"]}])
def test_a_merge_that_contradicts_the_classes_is_refused(merge):
    with pytest.raises(InputError, match="merge: '[abe]'"):
        merged_classes("abcd", merge)


def test_targets_are_places_in_the_merged_classes():
    rows = pd.DataFrame({"id": list("pqrst"), "label": [*CHEST, "COVID"]})
    assert targets(rows, CHEST, {}).tolist() == [0, 1, 2, 3, 0]
    merged = targets(rows, CHEST, OTHER)
    assert merged.dtype == np.int64
    assert merged.tolist() == [0, 2, 1, 2, 0]
    assert targets(rows[:0], CHEST, OTHER).tolist() == []


def test_an_unknown_label_is_named_with_its_row():
    rows = pd.DataFrame({"id": ["p", "q"], "label": ["COVID", "other"]})
    with pytest.raises(InputError, match="q: label 'other' is none of COVID, Lung_Opacity"):
        targets(rows, CHEST, OTHER)


def test_channel_statistics_are_those_of_the_rows_alone():
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    images[3] = 255
    found = channel_statistics(images, np.array([0, 1, 4]))
    chosen = images[[0, 1, 4]].astype(float)
    np.testing.assert_allclose(found["mean"], chosen.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(found["std"], chosen.std(axis=(0, 1, 2)))


def test_a_split_without_what_it_recorded_is_told_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"task.json: cannot be read .*; run `dvc repro split`"):
        Dealt.read(tmp_path)
    (tmp_path / "task.json").write_text('{"classes": ["a", "b"], "subgroups": ["sex"]}')
    assert Dealt.read(tmp_path) == Dealt(("a", "b"), ("sex",))
