"""Whole volumes, from NIfTI files to figures in millimetres: a spot that moves from slice to slice."""

import gzip
from io import BytesIO

import nibabel
import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT, evaluate_settings
from keras import Input, Model, layers
from PIL import Image

from medpipe.data import nifti
from medpipe.data.arrays import Arrays, Dealt
from medpipe.data.clean import clean
from medpipe.data.ingest import build_manifest
from medpipe.data.prepare import prepare_images
from medpipe.data.split import split
from medpipe.evaluation.evaluate import evaluate
from medpipe.evaluation.segmentation import hausdorff95, patients
from medpipe.evaluation.tables import Distances
from medpipe.models.delivery import GRAPH, Delivery
from medpipe.params import Clean, Declaration, Ingest, PreparedImages, Split
from medpipe.service.answers import plain
from medpipe.serving.predictor import Predictor

SIDE, SLICES = 16, 6
MM = (2.0, 1.0, 5.0)  # of a voxel, to the right, to the front, upwards
TASK = {
    "kind": "segment", "classes": ["empty", "marked"], "mask_values": {"spot": [7]}, "features": {}, "subgroups": [],
    "reader": {"kind": "pairs", "images": "images/(.+)", "masks": "masks/(.+)", "codes": {}, "group": None,
               "ungrouped": "refuse"},
    "decoding": EIGHT_BIT.model_copy(update={"window": ((100, 200),), "axis": 2, "context": 1}), "external": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """10 patients, each a volume of its own noise with a block in four slices, stored from left to right."""
    folder = tmp_path_factory.mktemp("volumes")
    for i in range(10):
        rng = np.random.default_rng(i)
        mask, (right, front) = np.zeros((SIDE, SIDE, SLICES), np.int16), rng.integers(0, SIDE - 6, 2)
        mask[right : right + 4, front : front + 6, 1:5] = 7
        image = (rng.integers(0, 60, mask.shape) + 30 * mask).astype(np.int16)
        for kind, voxels in (("images", image), ("masks", mask)):
            (folder / kind).mkdir(exist_ok=True)
            volume = nibabel.Nifti1Image(voxels[::-1], np.diag([-MM[0], *MM[1:], 1]))
            nibabel.save(volume, folder / kind / f"P{i}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def prepared(archive, tmp_path_factory):
    task = Declaration.model_validate(TASK | {"archive": str(archive)})
    manifest = build_manifest("spots", task, Ingest(max_quarantined=0, max_pixels=SIDE**2)).manifest
    table = clean(manifest, task, Clean(unknown=None))
    rows, _, _ = split(table, task, Split(seed=1, by="group", train=0.4, val=0.3, test=0.3, near=0))
    variant = PreparedImages(
        task="spots", kind="images", square=False, sizes=(2 * SIDE,), equalise=False, decoding=task.decoding,
        mask_values=task.mask_values,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("prepared")
    prepare_images(table, archive, variant, folder, SIDE**2)
    return rows, Arrays(folder)


def of_channel(place):
    """A segmenter that says of a slice what is bright in itself (1), or in a neighbour."""
    inputs = Input((2 * SIDE, 2 * SIDE, 3))
    network = Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", name="output")(inputs))
    kernel = np.zeros((1, 1, 3, 1), np.float32)
    kernel[0, 0, place] = 1
    network.layers[-1].set_weights([kernel, np.array([-150.0], np.float32)])
    return network


def evaluated(prepared, place):
    rows, arrays = prepared
    delivered = Delivery(
        "spots", "spots", "segmenter", ("empty", "marked"), ("spots",), (arrays.variant,), ((),), {}, None,
        {"merge": {}, "only": None},
    )  # fmt: skip
    dealt = Dealt(("empty", "marked"), ())
    return delivered, evaluate(delivered, of_channel(place), rows, [arrays], dealt, evaluate_settings(50), 1)


def test_a_pixels_millimetres_are_those_of_its_array(prepared):
    volumes = prepared[1].volumes
    assert volumes["volume"].tolist() == [f"images/P{i}.nii.gz" for i in range(10) for _ in range(SLICES)]
    assert volumes["slice"].tolist() == [*range(SLICES)] * 10
    for column, mm in (("mm_between", 5), ("mm_down", 0.5), ("mm_across", 1)):  # enlarged to twice as many
        assert set(volumes[column]) == {mm}


def test_dice_and_distance_are_a_volumes_in_millimetres(prepared):
    """What is said a slice too late overlaps in three slices of four, and lies one slice, of 5 mm, beside it."""
    for place, dice, distance in ((1, 1.0, 0.0), (0, 0.75, 5.0), (2, 0.75, 5.0)):
        _, found = evaluated(prepared, place)
        test = found.report["sets"]["test"]
        assert test["groups"] == 3
        assert test["overall"]["dice"]["value"] == pytest.approx(dice, abs=0.01)
        assert test["overall"]["hd95"]["value"] == pytest.approx(distance, abs=0.01)
        assert found.report["volumes"]
        assert found.table.groupby(["volume", "set"])["hd95"].count().tolist() == [1] * 6


def test_a_volume_is_served_as_a_volume(prepared, archive, tmp_path):
    """The mask lies on the input's voxels, and is what evaluate measured; a slice is answered with a PNG."""
    delivered, found = evaluated(prepared, 1)
    (tmp_path / "spots").mkdir()
    delivered.write(tmp_path / "spots", of_channel(1))
    (tmp_path / "spots" / GRAPH).write_bytes(found.graph)
    served = Predictor(tmp_path / "spots", SIDE**2, (), None, None, image_root=str(archive))
    data = (archive / "images/P3.nii.gz").read_bytes()
    torn = data[: len(data) // 2]
    answer = served.predict(pd.DataFrame({"image": ["images/P3.nii.gz#2", data, "images/P4.nii.gz", torn]}))
    for row, patient in ((1, 3), (2, 4)):
        mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer["mask"][row]))
        truth = nibabel.load(archive / f"masks/P{patient}.nii.gz")
        np.testing.assert_array_equal(np.asarray(mask.dataobj) * 7, np.asarray(truth.dataobj))
        np.testing.assert_array_equal(mask.affine, truth.affine)
        assert (mask.get_data_dtype(), mask.header.get_xyzt_units()) == (np.uint8, truth.header.get_xyzt_units())
        assert answer["share"][row] == pytest.approx(4 * 6 * 4 / np.prod(truth.shape), abs=0.005)
        assert answer["marked"][row] is True
    png = np.asarray(Image.open(BytesIO(answer["mask"][0])))
    truth = np.asarray(nibabel.load(archive / "masks/P3.nii.gz").dataobj)
    np.testing.assert_array_equal(png, 255 * (truth[::-1, :, 2].T[::-1] > 0))
    assert answer["error"].isna().tolist() == [True, True, True, False]
    assert answer["error"][3].startswith("image#0: damaged")
    assert plain(answer["mask"][1]).startswith("data:application/gzip;base64,")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("way", ["RAS", "LPI", "SAR", "PIL"])
def test_a_mask_of_slices_is_put_together_as_its_volume_is_stored(way, axis):
    ornt = nibabel.orientations
    turn = ornt.ornt_transform(ornt.axcodes2ornt("RAS"), ornt.axcodes2ornt(way))
    upright = nibabel.Nifti1Image(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), np.diag([1, 2, 3, 1]))
    stored = upright.as_reoriented(turn)
    data = stored.to_bytes()
    decoding = EIGHT_BIT.model_copy(update={"axis": axis})
    slices = [nifti.decode_mask(data, name=f"v#{i}", decoding=decoding).values for i in range((3, 4, 5)[axis])]
    packed = nifti.encode_mask(data, np.stack(slices).astype(np.uint8), name="v", decoding=decoding)
    mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(packed))
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(stored.dataobj))
    np.testing.assert_array_equal(mask.affine, stored.affine)


def test_a_patients_figures_are_the_mean_over_his_volumes():
    table = pd.DataFrame(
        {
            "group": "p", "volume": ["a", "a", "b"], "tp": [40, 50, 0], "fp": [10, 0, 5], "fn": 0,
            "hd95": [np.nan, 3.0, 4.0],
        }
    )  # fmt: skip
    found = patients(table, alpha=0.5).loc["p"]
    assert (found["dice"], found["hd95"], found["slices"]) == (pytest.approx(180 / 190 / 2), 3.5, 3)


def test_distances_in_three_dimensions_by_closed_forms():
    one, other = np.zeros((2, 9, 20, 20), bool)
    one[2, 3, 3], other[4, 6, 7] = True, True
    assert hausdorff95(one, other) == pytest.approx(np.sqrt(2**2 + 3**2 + 4**2))
    assert hausdorff95(one, other, (10, 1, 0.5)) == pytest.approx(np.sqrt(20**2 + 3**2 + 2**2))
    slab, moved = np.zeros((2, 9, 20, 20), bool)
    slab[1:3], moved[4:6] = True, True
    assert hausdorff95(slab, moved, (2.5, 1, 1)) == pytest.approx(7.5)


def test_slices_come_in_any_order_and_sets_keep_apart():
    """A volume that a split by image deals to two sets is two; of a slice that was left out both masks are empty."""
    volumes = pd.DataFrame(
        {"volume": ["a", "b", "a", "a"], "slice": [5, 0, 2, 0], "mm_between": 3.0, "mm_down": 1.0, "mm_across": 1.0},
        index=[4, 5, 6, 7],
    )
    distances = Distances(volumes, ["val", "val", "val", "test"], 1)
    spot, beside, empty = np.zeros((3, 8, 8), np.uint8)
    spot[2, 2], beside[2, 6] = 1, 1
    assert np.isnan(distances.add(6, spot, empty))
    assert distances.add(7, spot, beside) == [4]
    assert distances.add(5, spot, spot) == [0]
    assert distances.add(4, empty, spot) == [9]  # three slices on
