"""Images and masks: what the reader makes of them, and what it refuses."""

import gzip

import nibabel
import numpy as np
import pytest
from declared import EIGHT_BIT, own_task
from PIL import Image, ImageChops, ImageDraw

from medpipe.data.archive import Archive
from medpipe.data.images import decode_mask
from medpipe.data.masks import marked
from medpipe.data.prepare import read_mask
from medpipe.errors import InputError
from medpipe.params import Pairs

PAIRS = {"kind": "pairs", "images": "(.+)", "masks": r"(.+)_mask(?:_\d+)?", "codes": {}}
PAIRS |= {"group": None, "ungrouped": "refuse"}
MASKED = {"kind": "both", "mask_values": {"lesion": [255]}, "classes": ("empty", "marked")}


def mask(value=255, size=(24, 18), place=(3, 3), mode="L"):
    image = Image.new(mode, size)
    image.putpixel(place, value)
    return image


def test_pairs_in_two_folders_or_beside_each_other(ingest, pictures, encode):
    masks = {"a": mask(), "b": Image.new("L", (24, 18)), "c": mask()}
    two = pictures(*(f"images/{n}.jpg" for n in masks)) | {f"masks/{n}.png": encode(m) for n, m in masks.items()}
    beside = pictures(*(f"p/{n}.jpg" for n in masks)) | {f"p/{n}_mask.png": encode(m) for n, m in masks.items()}
    for files, reader, folder in (
        (two, {"images": "images/(.+)", "masks": "masks/(.+)"}, "images"),
        (beside, {}, "p"),
    ):
        manifest, reasons, _ = ingest(files, PAIRS | reader, **MASKED)
        labels = zip("abc", ("marked", "empty", "marked"), strict=True)
        assert manifest["label"].to_dict() == {f"{folder}/{name}": label for name, label in labels}
        assert not reasons


def test_pairs_of_every_set_with_their_classes(ingest, pictures, encode):
    """Folders of sets above those of images and masks, and below; classes in the path, a code among them."""
    names = {"a": "Training", "b": "val", "c": "Test"}
    above = pictures(*(f"{part}/images/gut/{name}.jpg" for name, part in names.items()))
    above |= {f"{part}/masks/gut/{name}_m.png": encode(mask()) for name, part in names.items()}
    below = pictures(*(f"images {part}/MALIGNANT/{name}.jpg" for name, part in names.items()))
    below |= {f"masks/MALIGNANT/{name}.png": encode(mask()) for name in names}
    for files, images, masks in (
        (above, "(?P<set>[^/]+)/images/(?P<label>[^/]+)/(.+)", "(?P<set>[^/]+)/masks/[^/]+/(.+)_m"),
        (below, "images (?P<set>[^/]+)/(?P<label>[^/]+)/(.+)", "masks/[^/]+/(.+)"),
    ):
        reader = PAIRS | {"images": images, "masks": masks, "codes": {"gut": "benign"}}
        declared = MASKED | {"classes": ("benign", "malignant")}
        manifest, reasons, _ = ingest(files, reader, **declared)
        assert manifest["set"].tolist() == ["test", "train", "val"]
        assert set(manifest["label"]) == {"benign" if files is above else "malignant"}
        assert not reasons
    _, reasons, _ = ingest(below | pictures("images val/other/d.png", first=9) | {"masks/other/d.png": encode(mask())},
                           reader, **declared)  # fmt: skip
    assert reasons == {"images val/other/d": "no class in its path: one of benign, malignant wanted"}


def test_several_masks_of_an_image_are_united(ingest, pictures, encode, folder):
    files = pictures("a (1).png", "a (2).png", "a (3).png")
    files |= {"a (1)_mask.png": encode(mask()), "a (1)_mask_1.png": encode(mask(place=(9, 9)))}
    files |= {"a (2)_mask.png": encode(Image.new("L", (24, 18))), "a (2)_mask_1.png": encode(mask(7, place=(9, 9)))}
    files |= {"a (3)_mask.png": encode(mask()), "a (3)_mask_2.png": encode(mask(7))}
    manifest, reasons, _ = ingest(files, PAIRS, **MASKED | {"mask_values": {"lesion": [255], "vessel": [7]}})
    assert manifest["label"].to_dict() == {"a (1)": "marked", "a (2)": "marked"}
    assert reasons == {"a (3)": "mask values: in some pixels others than in another mask of the image"}
    row = manifest.loc["a (1)"]
    archive = Archive(folder(files))
    read = read_mask(archive, row["mask_path"], row["mask_sha256"], 10**6, EIGHT_BIT).values
    assert {(int(x), int(y)) for y, x in np.argwhere(read)} == {(3, 3), (9, 9)}
    archive = Archive(folder(files | {"a (1)_mask_1.png": encode(mask(place=(9, 10)))}))
    with pytest.raises(InputError, match=r"_mask\.png//a \(1\)_mask_1\.png has changed since ingest"):
        read_mask(archive, row["mask_path"], row["mask_sha256"], 10**6, EIGHT_BIT)


def test_patterns_that_cannot_tell_whose_a_mask_is():
    for images, masks, said in (
        ("(.+)", "(.+)/(.+)", "images has 1 groups, .* and masks 2"), ("a", "b", "images has 0 groups"),
        ("(.+", "(.+)", "is no regular expression"), ("(?P<id>.+)", "(.+)", r"\?P<id>: groups are called label or set"),
        ("(.+)", "(?P<set>.+)/(.+)", r"masks: has the group \?P<set>, which images lacks"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            Pairs.model_validate(PAIRS | {"images": images, "masks": masks})


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
        "alone_mask": "mask without image",
        "c": "mask size: 18 x 24, image 24 x 18",
        "d": "mask values: #ff0000 beside 0 and 255 (mask_values)",
        "e": "mask values: 7 beside 0 and 255 (mask_values)",
        "f": "image without mask",
    }
    for values in ({"lesion": [7, 255]}, {"lesion": [255], "vessel": [7]}):  # together, or as classes of their own
        assert ingest(files, PAIRS, **MASKED | {"mask_values": values})[0].loc["e", "label"] == "marked"


def palette(colours, kind="PNG"):
    """A file whose pixels (3, 3 + i) hold the colours, by a palette that has them in another order."""
    image = Image.new("P", (24, 18))
    image.putpalette([channel for colour in [(0, 0, 0), *colours[::-1]] for channel in colour])
    for i in range(len(colours)):
        image.putpixel((3, 3 + i), len(colours) - i)
    return image


def test_masks_of_one_bit_and_of_palettes_are_read_by_their_colours(ingest, pictures, encode):
    """0 and 1 in one bit, of PNG and either TIFF; a palette of greys; GIFs, each with an order of its own."""
    one, numbers = mask(1, mode="1"), mask(1)
    masks = {
        "a": encode(one), "b": encode(one, "TIFF"), "c": encode(one, "TIFF", compression="group4"),
        "d": encode(palette([(255, 255, 255)])), "e": encode(palette([(255, 255, 255)]), "GIF"),
        "f": encode(ImageChops.invert(one), "GIF"), "g": encode(mask(), "BMP"), "h": encode(numbers),
    }  # fmt: skip
    files = pictures(*(f"{name}.png" for name in masks)) | {f"{name}_mask.png": data for name, data in masks.items()}
    manifest, reasons, _ = ingest(files, PAIRS, **MASKED)
    assert set(manifest.index) == set("abcdefg")
    assert reasons == {"h": "mask values: 1 beside 0 and 255 (mask_values)"}
    table = {"vessel": ["#800000"], "lesion": ["#ff0000", 255], "background": ["#7f7f70"]}
    masks = {
        "a": palette([(128, 0, 0), (127, 127, 112)]), "b": mask((128, 0, 0), mode="RGB"),
        "c": palette([(127, 127, 112)]), "d": mask((1, 0, 0), mode="RGB"),
    }  # fmt: skip
    files = pictures("a.png", "b.png", "c.png", "d.png") | {f"{n}_mask.png": encode(m) for n, m in masks.items()}
    manifest, reasons, _ = ingest(files, PAIRS, **MASKED | {"mask_values": table})
    assert manifest["label"].to_dict() == {"a": "marked", "b": "marked", "c": "empty"}
    assert reasons == {"d": "mask values: #010000 beside 0 and #ff0000, #800000, #7f7f70, 255 (mask_values)"}
    read = decode_mask(encode(masks["a"]), name="a", max_pixels=10**4, decoding=EIGHT_BIT)
    places = marked(read.values, own_task("", PAIRS, **MASKED | {"mask_values": table}).marks)
    assert (places[3, 3], places.sum()) == (1, 1)


def test_a_jpeg_mask_is_black_and_white_or_refused(encode):
    drawn = Image.new("L", (64, 64))
    ImageDraw.Draw(drawn).ellipse((10, 12, 40, 50), fill=255)
    grades = drawn.point(lambda grey: 2 if grey else 0)
    grey = drawn.copy()
    ImageDraw.Draw(grey).ellipse((15, 20, 30, 40), fill=128)

    def read(image, **options):
        return decode_mask(encode(image, "JPEG", **options), name="a", max_pixels=10**4, decoding=EIGHT_BIT)

    for quality in (50, 95):
        found = read(drawn, quality=quality)
        assert found.held == (0, 255)
        np.testing.assert_array_equal(found.values, np.asarray(drawn))
    assert read(Image.new("RGB", (64, 64))).held == (0,)
    for wrong in (grades, grey, Image.new("RGB", (64, 64), (255, 0, 0))):
        with pytest.raises(InputError, match="a JPEG, which keeps black and white alone; save the masks as PNG"):
            read(wrong)


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
