"""What a file is, by its name and its first bytes."""

from pathlib import PurePosixPath

from medpipe.data import dicom, nifti

HEAD = 4096  # bytes that tell
# Files that are named so are images, or damaged.
IMAGES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm", ".dicom", ".ima",
    ".nii", ".nii.gz", ".mha", ".nrrd", ".pgm", ".ppm",
)  # fmt: skip
READ = "JPEG, PNG, TIFF, BMP, WebP, GIF, DICOM, NIfTI, MetaImage, NRRD"
_BEGIN = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif")
_HALVES = (".img", ".hdr", ".mhd", ".nhdr", ".raw", ".zraw")


def unread(name: str, head: bytes) -> str:
    """'' for an image that is read, of the file's name and first HEAD bytes; else what it is, and what helps."""
    ending = ending_of(name).lower()
    if name.lower().endswith(IMAGES) or head.startswith(_BEGIN) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        return ""
    if head[:2] == b"BM" and head[14:18] in (bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 64, 108, 124)):
        return ""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        return "HEIC or AVIF: save it as JPEG or PNG"
    if head.startswith(_TIFF) and ending:
        return "TIFF of another kind, as of cameras' raw data and whole slides: save it as TIFF or PNG"
    if ending in _HALVES:
        return "a volume whose header and voxels are two files: convert it to .nii.gz or .mha"
    if head.startswith(_TIFF) or dicom.is_dicom(head) or nifti.is_nifti(head):
        return ""
    return "no image"


def ending_of(name: str) -> str:
    """`.png`; '' where there is none, or numbers alone, as in the UIDs that DICOM files are named by."""
    suffix = PurePosixPath(name).suffix
    return "" if suffix[1:].isdigit() else suffix
