"""Images and masks: what the reader makes of them, and what it refuses."""

import gzip

import nibabel
import numpy as np
from PIL import Image

PAIRS = {"kind": "pairs", "images": "", "masks": "", "suffix": "_mask", "group": None, "ungrouped": "refuse"}
MASKED = {"kind": "both", "mask_values": {"lesion": [255]}, "classes": ("empty", "marked")}


def mask(value=255, size=(24, 18), place=(3, 3), mode="L"):
    image = Image.new(mode, size)
    image.putpixel(place, value)
    return image


def test_pairs_in_two_folders_or_beside_each_other(ingest, pictures, encode):
    masks = {"a": mask(), "b": Image.new("L", (24, 18)), "c": mask()}
    two = pictures(*(f"images/{n}.jpg" for n in masks)) | {f"masks/{n}.png": encode(m) for n, m in masks.items()}
    beside = pictures(*(f"p/{n}.jpg" for n in masks)) | {f"p/{n}_mask.png": encode(m) for n, m in masks.items()}
    for files, reader in (
        (two, {"images": "images", "masks": "masks", "suffix": ""}),
        (beside, {"images": "p", "masks": "p"}),
    ):
        manifest, reasons, _ = ingest(files, PAIRS | reader, **MASKED)
        labels = zip("abc", ("marked", "empty", "marked"), strict=True)
        assert manifest["label"].to_dict() == {f"{reader['images']}/{name}": label for name, label in labels}
        assert not reasons


def test_masks_that_are_missing_of_another_size_in_colours_or_of_several_values(ingest, pictures, encode):
    files = pictures(*(f"{name}.png" for name in "abcdef"))
    masks = {
        "a": mask(), "b": Image.new("L", (24, 18)), "c": mask(size=(18, 24)), "d": mask((255, 0, 0), mode="RGB"),
        "e": mask(7),
    }  # fmt: skip
    files |= {f"{name}_mask.png": encode(image) for name, image in masks.items()}
    manifest, reasons, _ = ingest(files | {"alone_mask.png": encode(mask(place=(0, 0)))}, PAIRS, **MASKED)
    assert manifest["label"].to_dict() == {"a": "marked", "b": "empty"}
    assert reasons == {
        "alone": "mask without image",
        "c": "mask size: 18 x 24, image 24 x 18",
        "d": "mask values: in colours, such as [[0, 0, 0], [255, 0, 0]]; a grey mask wanted",
        "e": "mask values: 7 beside 0 and 255 (mask_values)",
        "f": "image without mask",
    }
    for values in ({"lesion": [7, 255]}, {"lesion": [255], "vessel": [7]}):  # together, or as classes of their own
        assert ingest(files, PAIRS, **MASKED | {"mask_values": values})[0].loc["e", "label"] == "marked"


def test_slices_of_volumes_with_their_masks(ingest):
    rng = np.random.default_rng(0)
    marked = np.zeros((6, 5, 4), np.uint8)
    marked[2:4, 2:4, 1] = 1
    volumes = {"v1.nii.gz": rng.integers(0, 900, (6, 5, 4)), "v2.nii": rng.integers(0, 900, (6, 5, 4))}
    files = {name: packed(volume.astype(np.int16), name) for name, volume in volumes.items()}
    files |= {"v1_mask.nii.gz": packed(marked, "m.nii.gz"), "v2_mask.nii": packed(marked[..., :3], "m.nii")}
    decoding = {"window": "full", "frames": "refuse", "axis": 2, "context": 0, "max_voxels": 1 << 20}
    manifest, reasons, _ = ingest(files, PAIRS, **MASKED | {"mask_values": {"lesion": [1]}, "decoding": decoding})
    assert manifest["label"].to_dict() == {"v1-0": "empty", "v1-1": "marked", "v1-2": "empty", "v1-3": "empty"}
    assert set(manifest["group"]) == {"v1"}
    assert reasons == {"v2": "mask beside its image: v2.nii has another grid: shape 6 x 5 x 3, the image's 6 x 5 x 4"}


def test_a_mask_that_holds_what_is_not_declared_is_bad_in_all_its_slices(ingest):
    """A CT in place of a mask, probabilities, -1 for background, and 1001 where 2035 marks."""
    volume, masks = np.random.default_rng(0).integers(0, 900, (6, 5, 4)).astype(np.int16), {}
    for name, value, kind in (("ct", -1000, "i2"), ("p", 0.7, "f4"), ("back", -1, "i2"), ("other", 1001, "i2")):
        masks[name] = np.zeros((6, 5, 4), kind)
        masks[name][2, 2, 1] = value
    masks["good"] = (masks["other"] * 2.0 + 33 * (masks["other"] > 0)).astype("f4")
    files = {f"{name}.nii": packed(volume + i, name) for i, name in enumerate(masks)}
    files |= {f"{name}_mask.nii": packed(mask, name) for name, mask in masks.items()}
    decoding = {"window": "full", "frames": "refuse", "axis": 2, "context": 0, "max_voxels": 1 << 20}
    manifest, reasons, _ = ingest(files, PAIRS, **MASKED | {"mask_values": {"lesion": [2035]}, "decoding": decoding})
    expected = {f"good-{i}": "marked" if i == 1 else "empty" for i in range(4)}
    assert manifest["label"].to_dict() == expected
    said = {
        "ct": "mask values: -1000 beside 0 and 2035 (mask_values)",
        "p": "mask values: 0.7; whole numbers wanted, one a class (mask_values)",
        "back": "mask values: -1 beside 0 and 2035 (mask_values)",
        "other": "mask values: 1001 beside 0 and 2035 (mask_values)",
    }
    assert reasons == {f"{name}-{i}": reason for name, reason in said.items() for i in range(4)}


def test_a_mask_lies_on_its_images_voxels(ingest):
    """By their headers: there, stored another way, a hundredth of a voxel beside it, and elsewhere."""
    rng, marked = np.random.default_rng(0), np.zeros((6, 5, 4), np.uint8)
    marked[1, 1, 1] = 1
    there = np.diag([1, 1, 3, 1.0])
    turned = nibabel.Nifti1Image(marked, there).as_reoriented(np.array([[1, 1], [0, -1], [2, -1]]))
    beside, moved, coarse = there.copy(), there.copy(), there.copy()
    beside[:3, 3], moved[:3, 3], coarse[2, 2] = 0.01, (0, 20, 0), 3.5
    masks = {
        "there": packed(marked, "", there), "turned": turned.to_bytes(), "beside": packed(marked, "", beside),
        "moved": packed(marked, "", moved), "coarse": packed(marked, "", coarse),
    }  # fmt: skip
    files = {f"{name}.nii": packed(rng.integers(0, 900, (6, 5, 4)).astype("i2"), "", there) for name in masks}
    files |= {f"{name}_mask.nii": mask for name, mask in masks.items()}
    decoding = {"window": "full", "frames": "refuse", "axis": 2, "context": 0, "max_voxels": 1 << 20}
    manifest, reasons, _ = ingest(files, PAIRS, **MASKED | {"mask_values": {"lesion": [1]}, "decoding": decoding})
    assert manifest["label"].eq("marked").groupby(manifest["group"]).sum().to_dict() == {
        "there": 1, "turned": 1, "beside": 1,
    }  # fmt: skip
    other = "mask beside its image: {}.nii has another grid: up to {} mm apart: {}"
    assert reasons == {
        "moved": other.format("moved", 20, "origin 0 x 20 x 0, the image's 0 x 0 x 0"),
        "coarse": other.format("coarse", 1.5, "voxels 1 x 1 x 3.5, the image's 1 x 1 x 3"),
    }


def packed(volume, name, affine=None):
    image = nibabel.Nifti1Image(volume, np.eye(4) if affine is None else affine)
    data = image.to_bytes()
    if name.endswith(".gz"):
        return gzip.compress(data)
    return data
