"""Files by what is in them: which are images, what is said of the others, and formats beside JPEG, PNG and TIFF."""

import gzip
import os
import zlib

import nibabel
import numpy as np
import pytest
from declared import CLASSES, EIGHT_BIT, own_task
from PIL import Image
from scans import scan

from medpipe.data import nifti
from medpipe.data.archive import Archive
from medpipe.data.images import decode, decode_mask, names
from medpipe.data.ingest import build_manifest, summary
from medpipe.errors import InputError, Unreadable
from medpipe.params import Decoding, Ingest

FOLDERS = {"kind": "folders", "group": None, "ungrouped": "refuse", "codes": {}, "sets": "ignore"}
CUT = Decoding(window="full", frames="refuse", axis=2, context=0, max_voxels=24)

# As ITK 5 writes a volume of 2 x 3 x 4 voxels, and the affine that it gives the same one as NIfTI.
VOXELS = (np.arange(24, dtype="<i2") * 100 - 1000).tobytes()
AFFINE = [[0, 1.5, 0, -10], [-0.5, 0, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]]
META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
%sTransformMatrix = 0 1 0 -1 0 0 0 0 1
Offset = 10 -20 30
CenterOfRotation = 0 0 0
AnatomicalOrientation = ALI
ElementSpacing = 0.5 1.5 2.5
DimSize = 4 3 2
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
NRRD = """NRRD0004
# Complete NRRD file format specification at:
# http://teem.sourceforge.net/nrrd/format.html
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 3 2
space directions: (0,0.5,0) (-1.5,0,0) (0,0,2.5)
kinds: domain domain domain
endian: little
encoding: %s
space origin: (10,-20,30)

"""
VOLUMES = {
    "a.mha": (META % "CompressedData = False\n").encode() + VOXELS,
    "packed.mha": (META % "CompressedData = True\nCompressedDataSize = 59\n").encode() + zlib.compress(VOXELS),
    "a.nrrd": (NRRD % "raw").encode() + VOXELS,
    "packed.nrrd": (NRRD % "gzip").encode() + gzip.compress(VOXELS),
    "big.nrrd": (NRRD % "raw").replace("little", "big").encode() + np.frombuffer(VOXELS, "<i2").astype(">i2").tobytes(),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_metaimage_and_nrrd_are_the_nifti_volume_that_itk_makes_of_them(name):
    data = VOLUMES[name]
    twin = nibabel.Nifti1Image(np.frombuffer(VOXELS, "<i2").reshape(2, 3, 4).T, np.array(AFFINE)).to_bytes()
    listed = names(data, name=name, max_pixels=24, decoding=CUT)
    assert listed == [f"{name}#0", f"{name}#1"]
    for place in range(2):
        for read in (decode, lambda *data, **named: decode_mask(*data, **named).values):
            one = read(data, name=f"{name}#{place}", max_pixels=24, decoding=CUT)
            other = read(twin, name=f"twin#{place}", max_pixels=24, decoding=CUT)
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    own, others = (nifti.grid(volume, name=name, decoding=CUT) for volume in (data, twin))
    assert own.shape == others.shape == (3, 4, 2)
    np.testing.assert_allclose(own.affine, others.affine)


def test_a_volume_cut_anywhere_is_refused_and_one_of_gigabytes_is_not_unpacked():
    for data in VOLUMES.values():
        for end in range(1, len(data) - 8, 5):  # what is packed ends in a checksum of up to 8 bytes
            with pytest.raises(Unreadable):
                decode(data[:end], name="a#0", max_pixels=24, decoding=CUT)
    bomb = zlib.compress(bytes(1 << 28))
    few = CUT.model_copy(update={"max_voxels": 23})
    with pytest.raises(Unreadable, match="too many voxels: 4x3x2, at most 23"):
        decode((META % "CompressedData = True\n").encode() + bomb, name="a", max_pixels=24, decoding=few)
    flat = (META % "CompressedData = True\n").encode() + bomb
    assert not np.asarray(decode_mask(flat, name="a#0", max_pixels=24, decoding=CUT).values).any()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("LOCAL", "a.raw"), "voxels in another file: 'a.raw'; write one file, .mha"),
        (("BinaryData = True", "BinaryData = False"), "voxels as text"),
        (("NDims = 3", "NDims = 3\nElementNumberOfChannels = 3"), "colour model: 3 channels; one wanted"),
        (("DimSize = 4 3 2", "DimSize = 4 3 2 1"), "several volumes: shape 4x3x2x1"),
        (("MET_SHORT", "MET_STRING"), "damaged: 'string'"),
    ],
)
def test_what_a_metaimage_may_say_and_is_not_read_is_named(change, reason):
    data = (META % "").replace(*change).encode() + VOXELS
    with pytest.raises(Unreadable) as error:
        decode(data, name="a.mha#0", max_pixels=24, decoding=CUT)
    assert error.value.reason.startswith(reason)


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "GIF"])
def test_what_pillow_reads_without_loss_is_read(encode, noise, kind):
    image = noise(3).quantize(64).convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(image, kind, **options)
    np.testing.assert_array_equal(np.asarray(decode(data, name="a", max_pixels=999, decoding=EIGHT_BIT)), image)


def test_of_a_gif_the_first_frame_and_of_one_bit_black_and_white(encode, noise):
    first = noise(1, "L")
    film = encode(first, "GIF", save_all=True, append_images=[noise(2, "L")])
    assert names(film, name="a.gif", max_pixels=999, decoding=EIGHT_BIT) == ["a.gif"]
    np.testing.assert_array_equal(
        np.asarray(decode(film, name="a.gif", max_pixels=999, decoding=EIGHT_BIT)), first.convert("RGB")
    )
    bits = Image.fromarray(np.asarray(first) > 127)
    for kind in ("PNG", "BMP", "TIFF"):
        mask = decode_mask(encode(bits, kind), name="a", max_pixels=999, decoding=EIGHT_BIT)
        assert mask.held == (0, 255)
        np.testing.assert_array_equal(mask.values == 255, np.asarray(bits))
    moving = encode(noise(1), "WEBP", save_all=True, append_images=[noise(2)])
    with pytest.raises(Unreadable, match="several images: an animated WEBP"):
        decode(moving, name="a.webp", max_pixels=999, decoding=EIGHT_BIT)


def seen(folder, encode, noise):
    """A file of each kind that is read, most under an ending that does not say so, and files that are not."""
    flat = scan(1)
    own = {"JPEG": "jfif", "PNG": "x", "BMP": "dib", "WEBP": "", "GIF": "pic", "TIFF": ""}
    images = {f"benign/{kind}.{ending}".rstrip("."): encode(noise(7), kind) for kind, ending in own.items()}
    images |= {"benign/scan.IMA": flat, "malignant/1.2.840.7": flat, "benign/SCAN": flat, "malignant/a.dicom": flat}
    images |= {
        "malignant/v": VOLUMES["a.mha"],
        "malignant/w.seg": VOLUMES["a.nrrd"],
        "malignant/p.pgm": b"P5 1 1 255\n1",
    }
    heic = b"\0\0\0\x18ftypheic\0\0\0\0"
    others = {f"benign/{i}.HEIC": heic for i in range(3)} | {"slide.svs": images["benign/TIFF"], "notes.txt": "x"}
    others |= {"benign/b.img": bytes(900), "benign/b.hdr": bytes(348), "BMW.doc": b"BM" + bytes(40), "README": "x"}
    return images, others, folder(images | others)


def test_images_are_known_by_what_is_in_them_and_the_rest_is_counted(folder, encode, noise):
    images, others, path = seen(folder, encode, noise)
    archive = Archive(path)
    assert set(archive.images()) == set(images)
    start = "files that are not read as images:"
    assert sorted(archive.others()) == [
        f"{start} 1 .doc, 1 without ending, 1 .txt (no image)",
        f"{start} 1 .hdr, 1 .img (a volume whose header and voxels are two files: convert it to .nii.gz or .mha)",
        f"{start} 1 .svs (TIFF of another kind, as of cameras' raw data and whole slides: save it as TIFF or PNG)",
        f"{start} 3 .heic (HEIC or AVIF: save it as JPEG or PNG)",
    ]
    assert len(others) == 9


def test_ingest_reads_them_and_its_report_counts_what_it_did_not_see(folder, encode, noise):
    names_of = [f"{label}/a.{kind}" for label in CLASSES for kind in ("BMP", "GIF", "WEBP", "JPEG")]
    files = {name: encode(noise(i, size=(40, 30)), name.rpartition(".")[2]) for i, name in enumerate(names_of)}
    files |= {"benign/1.heic": b"\0\0\0\x18ftypheic\0\0\0\0", "notes.txt": "x"}
    ingested = build_manifest("t", own_task(folder(files), FOLDERS), Ingest(max_quarantined=0, max_pixels=10**6))
    assert len(ingested.manifest) == 8
    assert summary(ingested) == [
        "8 images, 0 in quarantine",
        "note: files that are not read as images: 1 .heic (HEIC or AVIF: save it as JPEG or PNG)",
        "note: files that are not read as images: 1 .txt (no image)",
    ]


def test_images_that_a_reader_gives_no_row_are_counted(folder, pictures, encode):
    mask = encode(Image.new("L", (24, 18)))
    files = pictures("images/a.png", "images/b.png", "preview/a.png", "preview/b.png")
    files |= {"masks/a.png": mask, "masks/b.png": mask}
    reader = {"kind": "pairs", "images": "images/(.+)", "masks": "masks/(.+)"}
    reader |= {"codes": {}, "group": None, "ungrouped": "refuse"}
    task = own_task(folder(files), reader, kind="both", mask_values={"lesion": [255]})
    ingested = build_manifest("t", task, Ingest(max_quarantined=0, max_pixels=10**6))
    assert (
        "note: 2 images are passed over, as copies or outside of the reader's folders, such as preview/a.png"
        in summary(ingested)
    )


def test_a_folder_that_cannot_be_listed_is_an_error(folder, pictures, monkeypatch):
    path = folder(pictures("benign/a.png", "malignant/b.png"))
    listed = os.scandir

    def refuse(place):
        if str(place).endswith("malignant"):
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", refuse)  # root may list any folder
    with pytest.raises(InputError, match=r"malignant: cannot be listed \(Permission denied\); grant access"):
        Archive(path)
