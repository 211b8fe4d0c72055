"""Files that are no images, or not such as are wanted."""

import gzip
import struct
import zlib
from io import BytesIO

import nibabel
import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from small_service import picture


def dicom():
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = SecondaryCaptureImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["1"])
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, meta.MediaStorageSOPInstanceUID
    file.Rows = file.Columns = 16
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation, file.PixelData = 7, 0, bytes(range(256))
    file.save_as(buffer := BytesIO(), enforce_file_format=True)
    return buffer.getvalue()


def nifti():
    volume = nibabel.Nifti1Image(np.arange(16 * 16 * 2, dtype=np.uint8).reshape(16, 16, 2), np.eye(4))
    return gzip.compress(volume.to_bytes(), mtime=0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, body=b"", depth=8, colour=2, extra=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    )


def tiff(width, height):
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, height)]
    tags += [(279, 4, 0xFFFFFFF0)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 8)  # its own next page


SOUND = {
    "png": picture(9),
    "jpeg": picture(9, kind="JPEG"),
    "tiff": picture(9, kind="TIFF"),
    "ppm": picture(9, kind="PPM"),
    "bmp": picture(9, kind="BMP"),
    "webp": picture(9, kind="WEBP"),
    "gif": picture(9, kind="GIF"),
    "metaimage": b"NDims = 2\nDimSize = 16 16\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n" + bytes(range(256)),
}
SOUND |= {"dicom": dicom(), "nifti": nifti()}


def files():
    """(name, bytes, what the row's error says; None where it may just as well be answered)."""
    rng = np.random.default_rng(0)
    for kind, data in SOUND.items():
        for share in (0.02, 0.3, 0.6):
            yield f"{kind} cut at {share}", data[: int(share * len(data))], "image: "
        for times in range(8):
            changed = bytearray(data)
            for place in rng.integers(0, len(data), 1 + 6 * times):
                changed[place] = rng.integers(256)
            yield f"{kind} changed {times}", bytes(changed), None
        yield f"{kind} behind zeros", b"\0" * 16 + data, "image: "
        yield f"{kind} then a megabyte", data + b"\0" * 500_000, None
    for name, size in {
        "wide": (2**31 - 1, 1),
        "large": (60_000, 60_000),
        "empty": (0, 0),
        "limit": (10_001, 1),
    }.items():
        yield f"png {name}", png(*size), "image: "
    yield "png bomb", png(30_000, 30_000, bytes(10_000_000)), "image: too many pixels|image: no image"
    yield "png text bomb", png(8, 8, bytes(200), extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(9**8)))), None
    yield "png no pixels", png(16, 16), "image: damaged"
    yield "png 16 bit", png(4, 4, bytes(100), depth=16), "image: "
    yield "tiff bomb", tiff(60_000, 60_000), "image: "
    yield "tiff in a circle", tiff(4, 4), None
    yield "nifti bomb", gzip.compress(SOUND["nifti"][:0] + b"\0" * 2**27), "image: "
    yield "gzip", gzip.compress(b"x"), "image: "
    Image.new("RGB", (16, 16)).save(buffer := BytesIO(), "ICO")
    yield "ICO", buffer.getvalue(), "image: no image"
    for kind, data in {
        "html": b"<html><script>alert(1)</script>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "zip": b"PK\x03\x04",
        "pickle": b"\x80\x04\x95cos\nsystem\n",
        "elf": b"\x7fELF",
        "pdf": b"%PDF-1.7",
        "random": rng.bytes(5000),
        "nothing": b"",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }.items():
        yield kind, data, "image: "
