import gzip
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.testing import data_path

from medpipe.data import nifti
from medpipe.data.archive import Archive, stem
from medpipe.data.images import decode, decode_mask, digest, most_bytes, names
from medpipe.data.masks import marked
from medpipe.data.prepare import read_image
from medpipe.errors import Unreadable
from medpipe.params import Decoding, Percentiles, Values

MANY = 1 << 20
AXIAL = Decoding(window=Values(values=(0, 255)), frames="refuse", axis=2, context=0, max_voxels=MANY)
X, Y, Z = np.meshgrid(np.arange(4), np.arange(5), np.arange(6), indexing="ij")
# Right, anterior and superior of each voxel as hundreds, tens and ones, in an image that is already RAS.
PLACES = (50 * X + 10 * Y + Z).astype(np.int16)


def write(voxels, affine=None, kind=nibabel.Nifti1Image, **fields):
    """The file's bytes, with these fields of its header overwritten."""
    data = kind(voxels, np.eye(4) if affine is None else affine).to_bytes()
    header = kind.header_class.from_fileobj(BytesIO(data))
    for key, value in fields.items():
        header[key] = value
    return header.binaryblock + data[len(header.binaryblock) :]


def read(data, name="v.nii#0", decoding=AXIAL, max_pixels=MANY):
    """(h, w) greys."""
    return np.asarray(decode(data, name=name, max_pixels=max_pixels, decoding=decoding))[..., 0]


def along(axis, window=AXIAL.window):
    return AXIAL.model_copy(update={"axis": axis, "window": window})


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (0, lambda k: PLACES[k].T[::-1]),  # superior on top, anterior on the right
        (1, lambda k: PLACES[:, k].T[::-1]),  # superior on top, right on the right
        (2, lambda k: PLACES[:, :, k].T[::-1]),  # anterior on top, right on the right
    ],
)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_slices_are_upright_whatever_way_the_volume_is_stored(axis, expected, kind):
    ras = nibabel.Nifti1Image(PLACES, np.diag([1, 2, 3, 1]))
    for way in ("RAS", "LPS", "SAR", "ILA", "PRI"):
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(way)
        )
        stored = ras.as_reoriented(turn)
        data = write(np.asarray(stored.dataobj), stored.affine, kind)
        assert nibabel.aff2axcodes(stored.affine) == tuple(way)
        listed = names(data, name="v.nii", max_pixels=MANY, decoding=along(axis))
        assert listed == [f"v.nii#{place}" for place in range(PLACES.shape[axis])]
        for place, name in enumerate(listed):
            np.testing.assert_array_equal(read(data, name, along(axis)), expected(place))


def test_an_sform_of_zeros_gives_way_to_the_qform():
    """As some programs write it; the qform has the first axis from right to left."""
    image = nibabel.Nifti1Image(PLACES[::-1], np.diag([-1, 1, 1, 1]))
    image.set_qform(np.diag([-1, 1, 1, 1]), 1)
    data = image.to_bytes()
    zeros = data[:280] + bytes(48) + data[328:]  # srow_x to srow_z
    assert zeros != data
    np.testing.assert_array_equal(read(zeros), PLACES[:, :, 0].T[::-1])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_has_two_axes_is_one_slice(axis):
    """Of whatever axis the others are cut along; here of an image in the sagittal plane."""
    sagittal = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])  # its axes: anterior, superior
    for affine, plane in ((None, PLACES[:, :, 2]), (sagittal, PLACES[1])):
        data = write(plane, affine)
        assert names(data, name="v.nii", max_pixels=MANY, decoding=along(axis)) == ["v.nii"]
        np.testing.assert_array_equal(read(data, "v.nii", along(axis)), plane.T[::-1])


def test_neighbours_and_windows_are_channels():
    """Of the first slice and the last, the neighbour that is not there is the slice itself."""
    data, volume = write(PLACES), PLACES.transpose(2, 1, 0)[:, ::-1]
    near = AXIAL.model_copy(update={"context": 1})
    for place, slices in ((0, (0, 0, 1)), (3, (2, 3, 4)), (5, (4, 5, 5))):
        array = np.asarray(decode(data, name=f"v.nii#{place}", max_pixels=MANY, decoding=near))
        np.testing.assert_array_equal(array, volume[[*slices]].transpose(1, 2, 0))
    single = np.asarray(decode(write(PLACES[:, :, 0]), name="v.nii", max_pixels=MANY, decoding=near))
    np.testing.assert_array_equal(single, np.stack([volume[0]] * 3, axis=-1))
    windows = along(2, ((100, 100), (50, 510)))
    array = np.asarray(decode(data, name="v.nii#3", max_pixels=MANY, decoding=windows))
    first, second = np.clip((volume[3] - 50.0) * 2.55, 0, 255), (volume[3] + 205) / 2
    np.testing.assert_array_equal(array, np.rint(np.stack([first, second, second], axis=-1)))
    with pytest.raises(Unreadable, match=r"a\.png: no volume: decoding\.context wants slices of NIfTI volumes"):
        decode(b"\x89PNG", name="a.png", max_pixels=MANY, decoding=near)


def test_percentiles_are_of_the_whole_volume():
    """A ramp of 0 to 119 in 6 slices: each has 20 of the greys."""
    ramp = np.arange(120, dtype=np.float32).reshape(6, 5, 4).T
    data = write(ramp)
    for place in range(6):
        array = read(data, f"v.nii#{place}", along(2, Percentiles(percentiles=(0, 100))))
        np.testing.assert_array_equal(array, np.rint(ramp[:, :, place].T[::-1] * (255 / 119)))


def test_the_full_window_is_what_the_type_holds_as_it_is_scaled():
    array = read(write(PLACES.astype(np.uint8)), decoding=along(2, "full"))
    np.testing.assert_array_equal(array, PLACES[:, :, 0].T[::-1])
    scaled = write(PLACES.astype(np.uint8), scl_slope=2, scl_inter=-7)
    np.testing.assert_array_equal(read(scaled, decoding=along(2, "full")), array)
    np.testing.assert_array_equal(read(scaled), (2 * PLACES[:, :, 0].T[::-1] - 7).clip(0, 255))
    with pytest.raises(Unreadable, match=r"v\.nii#0: window: full is set.*: values or percentiles"):
        read(write(PLACES.astype(np.float32)), decoding=along(2, "full"))


def test_what_is_no_number_is_black():
    voxels = np.full((2, 2, 1), 100, np.float32)
    voxels[0, 0], voxels[1, 1] = np.nan, np.inf
    np.testing.assert_array_equal(read(write(voxels)), [[100, 255], [0, 100]])


def read_mask(data, name="m.nii#0"):
    return decode_mask(data, name=name, max_pixels=MANY, decoding=AXIAL.model_copy(update={"window": None}))


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32])
def test_values_of_masks_stay_as_they_are(kind):
    labels = np.array([0, 1, 2, 4]).reshape(2, 2, 1).astype(kind)
    values, held = read_mask(write(labels))
    np.testing.assert_array_equal(values, [[1, 4], [0, 2]])
    assert held == (0, 1, 2, 4)
    np.testing.assert_array_equal(marked(values, {"oedema": (2,), "core": (4, 1)}), [[2, 2], [0, 1]])


def test_values_of_masks_are_neither_clipped_nor_rounded():
    freesurfer = np.array([-1, 1001, 2035, 1 << 30], np.int32).reshape(2, 2, 1)
    values, held = read_mask(write(freesurfer))
    assert held == (-1, 1001, 2035, 1 << 30)
    np.testing.assert_array_equal(marked(values, {"left": (1001,), "right": (2035,)}), [[1, 0], [0, 2]])
    # A uint8 file of ones as nibabel scales it: 255 / 255, in single precision.
    scaled = write(np.array([0, 255], np.uint8).reshape(1, 2, 1), scl_slope=1 / 255, scl_inter=0)
    assert read_mask(scaled).held == (0, 1)
    for wrong, said in ((0.5, "0.5"), (255.4, "255.4"), (np.nan, "nan"), (3e9, r"3e\+09"), (-np.inf, "-inf")):
        volume = np.zeros((2, 2, 3), np.float32)
        volume[0, 0, 2] = wrong
        with pytest.raises(Unreadable, match=rf"m\.nii#0: mask values: {said}; whole numbers wanted"):
            read_mask(write(volume))  # of which the first slice is empty


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (write(PLACES.astype(np.complex64)), "colour model: voxels of type complex64"),
        (write(np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "colour model: voxels of type"),
        (write(np.zeros((4, 5, 6, 2), np.int16)), "several volumes: shape 4x5x6x2"),
        (write(np.zeros(4, np.int16)), "several volumes: shape 4;"),
        (write(PLACES)[:-1], "damaged: 591 of 592 bytes"),
        (gzip.compress(write(PLACES)[:-1]), "damaged: 591 of 592 bytes"),
        (gzip.compress(write(PLACES))[:-9], "damaged: Compressed file ended"),
        (
            write(PLACES, dim=[3, 30_000, 30_000, 30_000, 1, 1, 1, 1]),
            "too many voxels: 30000x30000x30000, at most 1048576 (decoding.max_voxels)",
        ),
        (write(PLACES, dim=[3, 4, 5, -6, 1, 1, 1, 1]), "too many voxels: 4x5x-6"),
        (write(PLACES, vox_offset=1e30), "damaged: voxels from byte 1e+30 on"),
        (write(PLACES, datatype=77), "damaged: "),
        (write(PLACES, srow_x=[np.nan] * 4), "orientation: its sform or qform is none"),
        (write(PLACES, srow_x=[0] * 4, srow_y=[0] * 4, srow_z=[0] * 4), "orientation: its sform or qform is none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_read_is_refused_by_name(data, reason):
    with pytest.raises(Unreadable) as error:
        read(data)
    assert str(error.value).startswith(f"v.nii#0: {reason}")


def test_a_task_without_an_axis_or_window_refuses_volumes():
    with pytest.raises(Unreadable, match=r"a volume: images wanted; or set decoding\.axis to 0 \(sagittal\)"):
        read(write(PLACES), decoding=along(None))
    with pytest.raises(Unreadable, match="window: none is set"):
        read(write(PLACES), decoding=along(2, None))
    for name in ("v.nii", "v.nii#6"):
        with pytest.raises(Unreadable, match="several images: say which, from #0 to #5 behind the file's name"):
            read(write(PLACES), name)


def test_a_packed_bomb_is_unpacked_no_further_than_its_header_says(monkeypatch):
    asked, unpacked = [], nifti._unpacked
    monkeypatch.setattr(nifti, "_unpacked", lambda data, size: asked.append(size) or unpacked(data, size))
    data = gzip.compress(write(PLACES) + bytes(1 << 26))
    np.testing.assert_array_equal(read(data), read(write(PLACES)))
    assert max(asked) == 352 + 2 * PLACES.size + 1


def test_the_limit_of_volumes_is_their_own():
    tight = AXIAL.model_copy(update={"max_voxels": 119})
    with pytest.raises(Unreadable, match=r"too many voxels: 4x5x6, at most 119 \(decoding\.max_voxels\)"):
        read(write(PLACES), decoding=tight)
    np.testing.assert_array_equal(read(write(PLACES), max_pixels=9), PLACES[:, :, 0].T[::-1])
    assert most_bytes("a.png#2", 9, AXIAL) == 36
    assert most_bytes("a.NII.gz#2", 9, AXIAL) >= 352 + 8 * MANY  # of 64 bits each


def test_a_volume_is_decoded_once_for_all_its_slices(monkeypatch, folder):
    data = gzip.compress(write(PLACES))
    archive = Archive(folder({"p1/v.nii.gz": data}))
    assert archive.images() == ["p1/v.nii.gz"]
    nifti._greys.cache_clear()
    listed = names(archive.read("p1/v.nii.gz"), name="p1/v.nii.gz", max_pixels=MANY, decoding=AXIAL)
    digests = [digest(archive.read(name), name) for name in listed]
    assert len(set(digests)) == 6
    for place, (name, sha256) in enumerate(zip(listed, digests, strict=True)):
        image = read_image(archive, name, sha256, MANY, AXIAL)
        np.testing.assert_array_equal(np.asarray(image)[..., 0], PLACES[:, :, place].T[::-1])
    assert nifti._greys.cache_info().misses == 1
    assert [stem(name) for name in listed[:2]] == ["v-0", "v-1"]


@pytest.mark.parametrize(
    ("name", "slices"), [("anatomical.nii", 25), ("standard.nii.gz", 7), ("reoriented_anat_moved.nii", None)]
)
def test_samples_are_read_whole(name, slices):
    data = Path(data_path, name).read_bytes()
    window = along(2, Percentiles(percentiles=(1, 99)))
    listed = names(data, name=name, max_pixels=MANY, decoding=window)
    volume = nibabel.as_closest_canonical(nibabel.load(Path(data_path, name)))
    assert len(listed) == volume.shape[2] == (slices or volume.shape[2])
    low, high = np.percentile(volume.get_fdata(), (1, 99))
    for place, one in enumerate(listed):
        greys = np.clip((volume.get_fdata()[:, :, place].T[::-1] - low) * (255 / (high - low)), 0, 255)
        np.testing.assert_allclose(read(data, one, window), greys, atol=0.5 + 1e-4)


@pytest.mark.parametrize("name", ["functional.nii", "example4d.nii.gz"])
def test_samples_of_several_volumes_are_refused(name):
    with pytest.raises(Unreadable, match="several volumes: shape"):
        read(Path(data_path, name).read_bytes())


def test_a_header_without_voxels_is_no_image():
    with pytest.raises(Unreadable, match="no image"):
        read(Path(data_path, "nifti1.hdr").read_bytes())
