import hashlib
import json
import subprocess
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, TASKS
from manifests import skin

from medpipe.data.arrays import Arrays
from medpipe.data.clean import clean
from medpipe.data.features import fit
from medpipe.data.images import decode, decode_mask, digest, mask_to_array, to_array
from medpipe.data.prepare import prepare_images, prepare_table
from medpipe.errors import InputError, Unreadable
from medpipe.params import Clean, PreparedImages, TableVariant, Values

MANY = 10_000  # pixels


def variant(task="skin", sizes=(8,), square=False, equalise=False):
    return PreparedImages(
        task=task, kind="images", square=square, sizes=sizes, equalise=equalise, decoding=EIGHT_BIT,
        mask_values=TASKS[task].mask_values,
    )  # fmt: skip


def table_of(files, masks=None):
    """A row a file, in the order given; `masks` as many files, or none."""
    masks = masks or dict.fromkeys(f"no mask {i}" for i in range(len(files)))
    return pd.DataFrame(
        {
            "id": [f"id{i}" for i in range(len(files))],
            "path": list(files),
            "sha256": [hashlib.sha256(data).hexdigest() for data in files.values()],
            "mask_path": [name if data else "" for name, data in masks.items()],
            "mask_sha256": [hashlib.sha256(data).hexdigest() if data else "" for data in masks.values()],
        }
    )


@pytest.fixture
def files(noise, encode):
    kinds = ["PNG", "JPEG", "TIFF"] * 100
    return {f"{i}.{kind.lower()}": encode(noise(i), kind) for i, kind in enumerate(kinds)}


@pytest.fixture
def few(files):
    return dict(list(files.items())[:9])


@pytest.mark.parametrize(
    "settings", [variant(), variant(sizes=(4, 12)), variant(square=True), variant("chest", equalise=True)]
)
def test_arrays_are_each_files_own(tmp_path, folder, files, settings):
    """300 files: several chunks, and several closings of the map in one."""
    prepare_images(table_of(files), folder(files), settings, tmp_path, MANY)
    arrays = Arrays(tmp_path)
    side = settings.sizes[-1]
    assert (arrays.inputs.shape, arrays.inputs.dtype) == ((300, side, side, 3), np.uint8)
    for array, (name, data) in zip(arrays.inputs, files.items(), strict=True):
        image = decode(data, name=name, max_pixels=MANY, decoding=EIGHT_BIT)
        np.testing.assert_array_equal(array, to_array(image, settings))
    assert arrays.ids == [f"id{i}" for i in range(300)]
    assert arrays.variant == json.loads(settings.model_dump_json())
    assert (arrays.masks, arrays.features) == (None, [])


def test_a_slice_has_its_neighbours_as_channels(tmp_path, folder):
    """And its mask is of the slice alone."""
    rng = np.random.default_rng(0)
    volume, mask = rng.integers(0, 256, (8, 8, 5)).astype(np.int16), rng.integers(0, 2, (8, 8, 5)).astype(np.int16)
    files = {name: nibabel.Nifti1Image(v, np.eye(4)).to_bytes() for name, v in (("v.nii", volume), ("m.nii", mask))}
    decoding = EIGHT_BIT.model_copy(update={"window": Values(values=(0, 255)), "axis": 2, "context": 1})
    settings = variant().model_copy(update={"decoding": decoding, "mask_values": {"lesion": (1,)}})
    table = pd.DataFrame({"id": range(5)}).astype(str)
    for column, name in (("path", "v.nii"), ("mask_path", "m.nii")):
        table[column] = [f"{name}#{place}" for place in range(5)]
        table[column.replace("path", "sha256")] = [digest(files[name], one) for one in table[column]]
    prepare_images(table, folder(files), settings, tmp_path, MANY)
    arrays = Arrays(tmp_path)
    shown = volume.transpose(2, 1, 0)[:, ::-1]
    for place in range(5):
        near = shown[[max(0, place - 1), place, min(4, place + 1)]]
        np.testing.assert_array_equal(arrays.inputs[place], near.transpose(1, 2, 0))
    np.testing.assert_array_equal(arrays.masks, mask.transpose(2, 1, 0)[:, ::-1])


def test_masks_lie_beside_their_images(tmp_path, folder, noise, encode):
    images = {f"{i}.png": encode(noise(i)) for i in range(5)}
    masks = {f"{i}_mask.png": encode(noise(i, "L").point(lambda value: 255 * (value > 200))) for i in range(5)}
    table = table_of(images, masks)
    prepare_images(table, folder(images | masks), variant("brain"), tmp_path, MANY)
    arrays = Arrays(tmp_path)
    assert arrays.masks is not None
    assert (arrays.masks.shape, arrays.masks.dtype) == ((5, 8, 8), np.uint8)
    for array, (name, data) in zip(arrays.masks, masks.items(), strict=True):
        expected = mask_to_array(decode_mask(data, name=name, max_pixels=MANY, decoding=EIGHT_BIT), variant("brain"))
        np.testing.assert_array_equal(array, expected)
        assert set(np.unique(array)) == {0, 1}


def test_a_mask_that_changed_is_named_and_changes_the_digest(tmp_path, folder, noise, encode):
    images = {"0.png": encode(noise(0))}
    digests = []
    for i in range(2):
        masks = {"0_mask.png": encode(noise(i, "L").point(lambda value: 255 * (value > 200)))}
        archive, table = folder(images | masks), table_of(images, masks)
        prepare_images(table, archive, variant("brain"), tmp_path, MANY)
        digests.append(Arrays(tmp_path).digest)
    assert digests[0] != digests[1]
    (archive / "0_mask.png").write_bytes(encode(noise(2, "L").point(lambda value: 255 * (value > 200))))
    with pytest.raises(InputError, match=r"0_mask\.png has changed since ingest"):
        prepare_images(table, archive, variant("brain"), tmp_path, MANY)


def test_the_digest_is_that_of_the_images(tmp_path, folder, few):
    digests = set()
    for name, table in (("all", table_of(few)), ("again", table_of(few)), ("less", table_of(few)[1:])):
        (tmp_path / name).mkdir()
        prepare_images(table, folder(few), variant(), tmp_path / name, MANY)
        digests.add(Arrays(tmp_path / name).digest)
    assert len(digests) == 2


def test_a_zip_gives_the_same_arrays(tmp_path, folder, zipped, few):
    table = table_of(few)
    for name, archive in (("a", folder(few)), ("b", zipped(few))):
        (tmp_path / name).mkdir()
        prepare_images(table, archive, variant(), tmp_path / name, MANY)
    assert (tmp_path / "a/inputs.npy").read_bytes() == (tmp_path / "b/inputs.npy").read_bytes()


def test_a_file_that_changed_went_or_grew_too_large_is_named(tmp_path, folder, few, noise, encode):
    table, archive = table_of(few), folder(few)
    with pytest.raises(Unreadable, match=r"0\.png: too large: more than 40 bytes"):
        prepare_images(table, archive, variant(), tmp_path, 10)
    (archive / "6.png").write_bytes(encode(noise(1)))
    with pytest.raises(InputError, match=r"6\.png has changed since ingest"):
        prepare_images(table, archive, variant(), tmp_path, MANY)
    (archive / "6.png").unlink()
    with pytest.raises(InputError, match=r"6\.png"):
        prepare_images(table, archive, variant(), tmp_path, MANY)


FULL = """
import pandas, sys
from pathlib import Path
from medpipe.data.prepare import prepare_images
from medpipe.errors import InputError
from medpipe.params import PreparedImages

table, archive, variant, folder = sys.argv[1:]
try:
    prepare_images(
        pandas.read_json(table), archive, PreparedImages.model_validate_json(variant), Path(folder), 10_000
    )
except InputError as error:
    print(error)
"""


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, folder, few):
    """On a disk of 1 MiB, in a namespace of its own, 9 images of 256 pixels."""
    disk = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=1m t "$0" && exec "$@"',
        tmp_path,
    ]
    try:
        subprocess.run([*disk, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk may be mounted here")
    (tmp_path / "disk").mkdir()
    disk[-1] = tmp_path / "disk"
    table_of(few).to_json(tmp_path / "table.json")
    code = [sys.executable, "-c", FULL, tmp_path / "table.json", folder(few)]
    done = subprocess.run(
        [*disk, *code, variant(sizes=(256,)).model_dump_json(), tmp_path / "disk"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{tmp_path}/disk: no room for inputs.npy: 1.7 MiB needed, 1.0 MiB free (No space left on device); free some, "
        "or ask for smaller images\n"
    )


@pytest.mark.parametrize("unknown", ["category", "impute"])
def test_the_table_has_the_columns_that_stats_are_fitted_to(tmp_path, unknown):
    manifest = skin(["nv", "mel", "df"], "abc", age=[0.0, np.nan, 70.0], sex=["male", "unknown", "female"])
    table = clean(manifest, TASKS["skin"], Clean(unknown=unknown))
    prepare_table(table, TASKS["skin"].features, TableVariant(task="skin", kind="table"), tmp_path)
    arrays = Arrays(tmp_path)
    assert arrays.features == fit(table, TASKS["skin"].features)["columns"]
    assert arrays.inputs.dtype == np.float32
    assert arrays.ids == manifest["id"].tolist()
    male = arrays.features.index("sex_male")
    open_entry = 0.0 if unknown == "category" else np.nan
    np.testing.assert_array_equal(arrays.inputs[:, [0, male]], [[0, 1], [np.nan, open_entry], [70, 0]])


def test_a_further_number_in_the_table_is_no_feature(tmp_path):
    manifest = skin(["nv", "mel", "df"], "abc", age=[0.0, 50.0, 70.0])
    found = []
    for name, more in (("plain", {}), ("more", {"confidence": [0.1, 0.2, 0.3]})):
        table = clean(manifest.assign(**more), TASKS["skin"], Clean(unknown="category"))
        (tmp_path / name).mkdir()
        prepare_table(table, TASKS["skin"].features, TableVariant(task="skin", kind="table"), tmp_path / name)
        arrays = Arrays(tmp_path / name)
        assert arrays.features == fit(table, TASKS["skin"].features)["columns"]
        found.append((arrays.features, arrays.inputs.shape, arrays.digest))
    assert found[0] == found[1]


def test_real_images(tmp_path, real):
    archive = real / "ham10000"
    paths = sorted(archive.glob("HAM10000_images_part_1/*.jpg"))[:40]
    files = {path.relative_to(archive).as_posix(): path.read_bytes() for path in paths}
    prepare_images(table_of(files), archive, variant(sizes=(64,)), tmp_path, 100_000)
    inputs = Arrays(tmp_path).inputs
    assert inputs.reshape(40, -1).std(axis=1).min() > 5
    assert inputs[..., 0].mean() > inputs[..., 2].mean()  # skin is rather red than blue
