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
        assert manifest["label"].to_dict() == {"a": "marked", "b": "empty", "c": "marked"}
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
    decoding = {"window": "full", "frames": "refuse", "axis": 2}
    manifest, reasons, _ = ingest(files, PAIRS, **MASKED | {"mask_values": {"lesion": [1]}, "decoding": decoding})
    assert manifest["label"].to_dict() == {"v1-0": "empty", "v1-1": "marked", "v1-2": "empty", "v1-3": "empty"}
    assert set(manifest["group"]) == {"v1"}
    assert reasons == {"v2": "mask slices: 3, the image has 4"}


def packed(volume, name):
    image = nibabel.Nifti1Image(volume, np.eye(4))
    data = image.to_bytes()
    if name.endswith(".gz"):
        return gzip.compress(data)
    return data
