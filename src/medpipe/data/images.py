"""The one path from a file's bytes to a model's array: ingest, prepare and serving all take it."""

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from medpipe.errors import InputError
from medpipe.params import ImagesVariant

FORMATS = ("JPEG", "PNG", "TIFF", "PPM")  # PPM: rows of a pixel table (source.Archive.read)
MODES = ("L", "LA", "P", "RGB", "RGBA")
TURNS = {  # by the EXIF tag Orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(InputError):  # noqa: N818
    """A file that gives no usable image: `name`, and the reason without it (`kind: detail`)."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[type["Unreadable"], tuple[str, str]]:
        return Unreadable, (self.name, self.reason)


def decode(data: bytes, *, name: str, max_pixels: int) -> Image.Image:
    """The whole image as 8-bit RGB (greyscale repeated), turned as its EXIF tag Orientation says.

    `name` is for messages. Raises Unreadable for what is empty, no JPEG, PNG or TIFF, damaged, of more than
    `max_pixels` pixels (known from the header, before anything is decoded), of another depth or colour model than
    8-bit greyscale or RGB, transparent, or several images in one.
    """
    if not data:
        raise Unreadable(name, "empty file")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Unreadable(name, f"too many pixels: {error}") from None
    except Exception:  # Pillow's readers raise much beside UnidentifiedImageError on a damaged header
        raise Unreadable(name, "no image: neither JPEG, PNG nor TIFF") from None
    if image.width * image.height > max_pixels:
        raise Unreadable(name, f"too many pixels: {image.width} x {image.height}, at most {max_pixels}")
    if image.mode not in MODES or _bits(image, data) > 8:
        raise Unreadable(name, f"colour model: {image.mode}, {_bits(image, data)} bits; 8-bit greyscale or RGB wanted")
    try:
        if image.format in ("TIFF", "PNG") and getattr(image, "n_frames", 1) > 1:
            raise Unreadable(name, "several images: one a file wanted")
        image.load()
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise Unreadable(name, "transparent: an opaque image wanted")
        return _upright(image).convert("RGB")
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(name, f"damaged: {error}") from None


def _upright(image: Image.Image) -> Image.Image:
    """The loaded image turned as it is tagged. Pillow has turned a TIFF by itself, and dropped its tag."""
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as viewers do: a damaged EXIF block tells nothing of whole pixels
        return image
    return image if turn is None else image.transpose(turn)


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits a channel. Pillow reads 16-bit RGB as RGB and drops the low byte, so the header must tell."""
    if image.format == "PNG":
        return data[24]  # bit depth in IHDR
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,)))  # type: ignore[attr-defined]  # BitsPerSample
    return 8  # JPEG; a PPM of more has the mode I


def to_array(image: Image.Image, variant: ImagesVariant) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8: centre square where the variant says so, bilinear through its sizes, equalised last.

    `equalise` is histogram equalisation of the greyscale image, repeated in three channels.
    """
    image = _resize(image, variant, Image.Resampling.BILINEAR)
    if variant.equalise:
        image = ImageOps.equalize(image.convert("L")).convert("RGB")
    return np.asarray(image)


def mask_to_array(image: Image.Image, variant: ImagesVariant) -> npt.NDArray[np.uint8]:
    """(h, w) uint8 in {0, 1} of a mask in {0, 255}, cropped and resized as its image, by nearest neighbour."""
    mask = np.asarray(_resize(image.convert("L"), variant, Image.Resampling.NEAREST))
    return (mask > 127).astype(np.uint8)


def _resize(image: Image.Image, variant: ImagesVariant, resampling: Image.Resampling) -> Image.Image:
    if variant.square:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    for size in variant.sizes:
        image = image.resize((size, size), resampling)
    return image
