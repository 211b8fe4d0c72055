"""The one path from a file's bytes to a model's array: ingest, prepare and serving all take it."""

import functools
import hashlib
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from medpipe.data import dicom, frames, masks, nifti, window
from medpipe.data.formats import READ
from medpipe.data.masks import Mask
from medpipe.errors import Unreadable
from medpipe.params import Decoding, ImagesVariant, PreparedImages

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM")  # PPM: rows of a pixel table (archive.Archive.read)
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
DEEP = ("I;16", "I;16L", "I;16B")
DEEPER = ("I", "F")  # of masks alone
JPEG = b"\xff\xd8\xff"
TURNS = {  # by the EXIF tag Orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> Image.Image:
    """The whole image as 8-bit RGB (greyscale repeated), turned as its EXIF tag Orientation says.

    `name` is for messages, and of a file of several images says which (`frames.parted`). Greys of 16 bits, DICOM files
    and NIfTI volumes become 8-bit as `decoding` says, of which channels may be slices or windows. Raises Unreadable for
    what is empty, of none of these formats, damaged, of more than `max_pixels` pixels or `decoding.max_voxels` voxels
    (known from the header, before anything is decoded), of another depth or colour model, transparent, several images
    where they are refused, or of a kind that `decoding` says nothing of.
    """
    if nifti.is_nifti(data):
        return _rgb(nifti.decode(data, name=name, decoding=decoding))
    if decoding.context:
        raise Unreadable(name, "no volume: decoding.context wants slices of NIfTI volumes, with their neighbours")
    if dicom.is_dicom(data):
        return _rgb(dicom.decode(data, name=name, max_pixels=max_pixels, decoding=decoding))
    image, bits, inverse = _load(
        data, name, max_pixels, decoding, MODES if decoding.window is None else (*MODES, *DEEP)
    )
    if image.mode in DEEP:
        values = np.asarray(image)
        greys = window.shown(values, decoding.window, (0, (1 << bits) - 1), name)
        image = Image.fromarray(255 - greys if inverse else greys)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy


def most_bytes(name: str, max_pixels: int, decoding: Decoding) -> int:
    """Of a file: no image of that many pixels needs more, and no volume of that many voxels."""
    voxels = 8 * decoding.max_voxels + nifti.ABOUT if frames.parted(name)[0].lower().endswith(nifti.ENDINGS) else 0
    return max(4 * max_pixels, voxels)


def decode_mask(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> Mask:
    """The values of a mask as they stand in the file, turned as `decode` turns its image.

    Those of DICOM and NIfTI files are rescaled as their headers say; of a palette its colours count, of a JPEG black
    and white. Raises Unreadable as `decode`, but of no window, and for what is no whole number.
    """
    if nifti.is_nifti(data):
        return nifti.decode_mask(data, name=name, decoding=decoding)
    if dicom.is_dicom(data):
        found = dicom.decode_mask(data, name=name, max_pixels=max_pixels, decoding=decoding)
    else:
        image, _, _ = _load(data, name, max_pixels, decoding, (*MODES, *DEEP, *DEEPER))
        found = np.asarray(image if image.mode in (*DEEP, *DEEPER) else image.convert("RGB"))
        if found.ndim == 3:
            found = masks.of_lossy(found, name) if data.startswith(JPEG) else masks.of_colours(found)
    values = masks.whole(found, name)
    return Mask(values, tuple(np.unique(values).tolist()))


def _load(
    data: bytes, name: str, max_pixels: int, decoding: Decoding, modes: Sequence[str]
) -> tuple[Image.Image, int, bool]:
    """The image that `name` says of a file of one of FORMATS, turned; its bits a channel; whether white is its zero."""
    image, count = _open(data, name)
    frames.check(name, count, decoding.frames)
    try:
        if count > 1:
            image.seek(frames.place(name, count))
        if image.width * image.height > max_pixels:
            raise Unreadable(name, f"too many pixels: {image.width} x {image.height}, at most {max_pixels}")
        bits = _bits(image, data)
        if image.mode not in modes or (image.mode in MODES and bits > 8):
            wanted = "8-bit greyscale or RGB wanted, or 16-bit greyscale and decoding.window set"
            raise Unreadable(name, f"colour model: {image.mode}, {bits} bits; {wanted}")
        image.load()
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise Unreadable(name, "transparent: an opaque image wanted")
        turn = _turn(image)
        inverse = image.format == "TIFF" and image.tag_v2.get(262) == 0  # type: ignore[attr-defined]
        return image if turn is None else image.transpose(turn), bits, inverse
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(name, f"damaged: {error}") from None


def names(data: bytes, *, name: str, max_pixels: int, decoding: Decoding) -> list[str]:
    """The names of the images in the file `name`, for `decode`: its own, or `#0` and so on behind it.

    Raises Unreadable as `decode` does for the file's header.
    """
    if nifti.is_nifti(data):
        return frames.named(name, nifti.count(data, name=name, decoding=decoding))
    if dicom.is_dicom(data):
        count = dicom.count(data, name=name, max_pixels=max_pixels)
    else:
        _, count = _open(data, name)
    frames.check(name, count, decoding.frames)
    return frames.named(name, count)


def digest(data: bytes, name: str) -> str:
    """SHA-256 of the image that `name` says: of the file's bytes, and of its place among several in the file."""
    _, place = frames.parted(name)
    if place is None or data.startswith(b"P6"):  # the row of a pixel table comes alone
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha256(f"{_whole(data)}#{place}".encode()).hexdigest()


@functools.lru_cache(maxsize=2)  # an image's file and its mask's, of which all slices are read in turn
def _whole(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _open(data: bytes, name: str) -> tuple[Image.Image, int]:
    """A file of one of FORMATS, not yet decoded, and how many images it holds; of a GIF the first one counts."""
    if not data:
        raise Unreadable(name, "empty file")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Unreadable(name, f"too many pixels: {error}") from None
    except Exception:  # Pillow's readers raise much beside UnidentifiedImageError on a damaged header
        raise Unreadable(name, f"no image: none of {READ}") from None
    if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
        raise Unreadable(name, f"several images: an animated {image.format}")
    try:
        return image, image.n_frames if image.format == "TIFF" else 1  # type: ignore[attr-defined]
    except Exception as error:
        raise Unreadable(name, f"damaged: {error}") from None


def _rgb(array: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(array).convert("RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the loaded image upright. Pillow has turned a TIFF by itself, and dropped its tag."""
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as viewers do: a damaged EXIF block tells nothing of whole pixels
        return None


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits a channel. Pillow reads 16-bit RGB as RGB and drops the low byte, so the header must tell."""
    if image.format == "PNG":
        return data[24]  # bit depth in IHDR
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,)))  # type: ignore[attr-defined]  # BitsPerSample
    return 8  # of more a PPM has the mode I, and the others have none


def to_array(image: Image.Image, variant: ImagesVariant) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8: centre square where the variant says so, bilinear through its sizes, equalised last.

    `equalise` is histogram equalisation of the greyscale image, repeated in three channels.
    """
    image = _resize(image, variant, Image.Resampling.BILINEAR)
    if variant.equalise:
        image = ImageOps.equalize(image.convert("L")).convert("RGB")
    return np.asarray(image)


def mask_to_array(mask: Mask, prepared: PreparedImages) -> npt.NDArray[np.uint8]:
    """(h, w) uint8, what a mask marks (`masks.marked`), cropped and resized as its image, by nearest neighbour."""
    assert prepared.mask_values is not None
    places = Image.fromarray(masks.marked(mask.values, prepared.mask_values))
    return np.asarray(_resize(places, prepared, Image.Resampling.NEAREST))


def _resize(image: Image.Image, variant: ImagesVariant, resampling: Image.Resampling) -> Image.Image:
    if variant.square:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    for size in variant.sizes:
        image = image.resize((size, size), resampling)
    return image
