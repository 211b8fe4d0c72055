import cv2
import numpy as np
import pytest
from declared import EIGHT_BIT
from PIL import ExifTags, Image

from medpipe.data.images import decode, decode_mask, mask_to_array, names, to_array
from medpipe.data.masks import Mask
from medpipe.errors import Unreadable
from medpipe.params import Percentiles, PreparedImages, Values


def variant(*sizes, square=False, equalise=False):
    return PreparedImages(
        task="skin", kind="images", square=square, sizes=sizes, equalise=equalise, decoding=EIGHT_BIT,
        mask_values={"marked": (255,)},
    )  # fmt: skip


# What a viewer shows of a stored array (h, w), by the EXIF tag Orientation: its row 0 and column 0 are, in the
# standard's words, 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top, 7 right bottom,
# 8 left bottom.
SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def tagged(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def read(data, max_pixels=10_000, decoding=EIGHT_BIT, name="a.png"):
    return decode(data, name=name, max_pixels=max_pixels, decoding=decoding)


def test_what_is_no_usable_image_is_refused_with_its_reason(damaged_images):
    for reason, data in damaged_images.items():
        with pytest.raises(Unreadable) as error:
            read(data)
        assert error.value.reason.startswith(reason)
        assert str(error.value) == f"a.png: {error.value.reason}"


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_sixteen_bit_colour_is_refused_although_pillow_reads_it_as_eight(kind):
    array = np.full((5, 5, 3), 40_000, np.uint16)
    with pytest.raises(Unreadable, match="RGB, 16 bits"):
        read(cv2.imencode(kind, array)[1].tobytes())


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("full", lambda ramp: ramp / 257),
        (Values(values=(1000, 50_000)), lambda ramp: (ramp - 1000.0) * (255 / 49_000)),
        (Percentiles(percentiles=(0, 100)), lambda ramp: ramp / 257),
        (Percentiles(percentiles=(20, 80)), lambda ramp: (ramp / 65_535 - 0.2) / 0.6 * 255),
    ],
    ids=["full", "values", "extremes", "percentiles"],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "big-endian TIFF", "white is zero"])
def test_a_sixteen_bit_ramp_under_a_window(encode, kind, window, expected):
    ramp = (np.arange(256).reshape(16, 16) * 257).astype(np.uint16)
    if kind == "big-endian TIFF":
        data = encode(Image.frombytes("I;16B", ramp.shape, ramp.astype(">u2").tobytes()), "TIFF")
    elif kind == "white is zero":
        data = encode(Image.fromarray(65_535 - ramp), "TIFF", tiffinfo={262: 0})
    else:
        data = encode(Image.fromarray(ramp), kind)
    array = np.asarray(read(data, decoding=EIGHT_BIT.model_copy(update={"window": window})))
    grey = np.clip(expected(ramp), 0, 255)
    if kind == "white is zero":  # the window is of what is stored
        grey = 255 - np.clip(expected(65_535 - ramp), 0, 255)
    np.testing.assert_allclose(array[..., 0], grey, atol=0.5 + 1e-9)


def test_eight_bits_are_left_as_they_are_whatever_the_window(encode, noise):
    window = EIGHT_BIT.model_copy(update={"window": Values(values=(100, 101))})
    np.testing.assert_array_equal(np.asarray(read(encode(noise(7)), decoding=window)), np.asarray(noise(7)))


def test_one_grey_throughout_is_black_under_percentiles(encode):
    flat = Image.fromarray(np.full((4, 4), 9000, np.uint16))
    window = EIGHT_BIT.model_copy(update={"window": Percentiles(percentiles=(1, 99))})
    assert not np.asarray(read(encode(flat), decoding=window)).any()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_what_a_window_does_not_suit_is_refused_by_name(encode, kind):
    deep = encode(Image.fromarray(np.zeros((4, 4), np.uint16)), kind)
    with pytest.raises(
        Unreadable, match=r"I;16, 16 bits; 8-bit .* wanted, or 16-bit greyscale and decoding\.window set"
    ):
        read(deep)
    own = EIGHT_BIT.model_copy(update={"window": "file"})
    with pytest.raises(Unreadable, match=r"window: file is set.*set decoding\.window: full, values or percentiles"):
        read(deep, decoding=own)
    floats = encode(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    with pytest.raises(Unreadable, match="colour model: F, 32 bits"):
        read(floats, decoding=own)


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_turned_as_they_are_tagged(encode, kind, orientation):
    ramp = (np.arange(96).reshape(8, 12) * 257).astype(np.uint16)
    window = EIGHT_BIT.model_copy(update={"window": "full"})
    array = np.asarray(read(encode(Image.fromarray(ramp), kind, exif=tagged(orientation)), decoding=window))
    np.testing.assert_array_equal(array[..., 0], SHOWN[orientation](ramp // 257))


def test_pages_of_a_tiff_are_split_where_that_is_set(encode, noise):
    pages = [noise(seed, size=(8, 6 + seed)) for seed in range(3)]
    data = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    split = EIGHT_BIT.model_copy(update={"window": None, "frames": "split"})
    listed = names(data, name="a.tif", max_pixels=64, decoding=split)
    assert listed == ["a.tif#0", "a.tif#1", "a.tif#2"]
    for name, page in zip(listed, pages, strict=True):
        np.testing.assert_array_equal(np.asarray(read(data, decoding=split, name=name)), np.asarray(page))
    with pytest.raises(Unreadable, match="a.tif#2: too many pixels: 8 x 8, at most 63"):
        read(data, 63, split, "a.tif#2")
    with pytest.raises(Unreadable, match="several images: 3, one a file wanted; or set decoding.frames: split"):
        names(data, name="a.tif", max_pixels=64, decoding=EIGHT_BIT)
    assert names(encode(noise(1)), name="a.png", max_pixels=999, decoding=split) == ["a.png"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow on what it misses in a cut TIFF
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_file_cut_anywhere_is_refused_or_whole(encode, noise, kind):
    data = encode(noise(0), kind)
    whole = np.asarray(read(data))
    for end in range(0, len(data), 7):
        try:
            cut = np.asarray(read(data[:end]))
        except Unreadable:
            continue
        np.testing.assert_array_equal(cut, whole)  # only what follows the pixels was cut


def test_a_size_is_refused_from_the_header_alone(encode, noise):
    data = encode(noise(0, size=(20, 20)))
    assert read(data, 400).size == (20, 20)
    with pytest.raises(Unreadable, match="20 x 20, at most 399"):
        read(data, 399)


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_deflate"})],
    ids=["JPEG", "PNG", "TIFF", "TIFF deflated"],
)
def test_images_and_masks_are_turned_as_they_are_tagged(encode, noise, kind, options, orientation):
    corner = np.zeros((16, 24), np.uint8)
    corner[:8, :16] = 255  # whole blocks of a JPEG, so that it keeps them
    for stored in (np.asarray(noise(5)), corner):
        whole = np.asarray(read(encode(Image.fromarray(stored), kind, **options)))
        image = read(encode(Image.fromarray(stored), kind, exif=tagged(orientation), **options))
        np.testing.assert_array_equal(np.asarray(image), SHOWN[orientation](whole))
    data = encode(Image.fromarray(corner), kind, exif=tagged(orientation), **options)
    found = decode_mask(data, name="m", max_pixels=10_000, decoding=EIGHT_BIT)
    mask = mask_to_array(found._replace(values=255 * (found.values > 127)), variant(48))  # a JPEG's
    shown = SHOWN[orientation](corner // 255)
    np.testing.assert_array_equal(mask, shown.repeat(48 // shown.shape[0], 0).repeat(48 // shown.shape[1], 1))


@pytest.mark.parametrize("exif", [b"Exif\0\0" + b"\xff" * 20, tagged(9)], ids=["damaged", "unknown"])
def test_a_tag_that_tells_nothing_leaves_the_image_as_it_is(encode, noise, exif):
    image = noise(6)
    np.testing.assert_array_equal(
        np.asarray(read(encode(image, "JPEG", exif=exif))), np.asarray(read(encode(image, "JPEG")))
    )


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "RGB"])
def test_eight_bit_modes_become_rgb(encode, mode):
    grey = Image.new("L", (4, 3), 77).convert(mode)
    assert set(np.asarray(read(encode(grey))).ravel()) == {77}


def test_an_image_of_the_variant_s_size_is_untouched(noise):
    image = noise(1, size=(16, 16))
    array = to_array(image, variant(16))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, np.asarray(image))


def test_halving_two_by_two_blocks_is_near_their_mean():
    blocks = np.kron(np.array([[10, 200], [90, 50]], np.uint8), np.ones((8, 8), np.uint8))
    array = to_array(Image.fromarray(blocks).convert("RGB"), variant(1))
    assert abs(int(array[0, 0, 0]) - 87.5) <= 1  # symmetric, so the mean


def test_square_takes_the_centre(noise):
    image = noise(2, size=(600, 450))
    np.testing.assert_array_equal(to_array(image, variant(450, square=True)), np.asarray(image)[:, 75:525])
    tall = noise(3, size=(5, 9))
    np.testing.assert_array_equal(to_array(tall, variant(5, square=True)), np.asarray(tall)[2:7])


def test_sizes_are_gone_through_in_order(noise):
    image = noise(4, size=(60, 45))
    small = Image.fromarray(to_array(image, variant(7)))
    np.testing.assert_array_equal(to_array(image, variant(7, 20)), to_array(small, variant(20)))


def test_equalised_values_are_spread_evenly_and_grey():
    ramp = np.repeat(np.arange(100, 164, dtype=np.uint8), 1024).reshape(256, 256)  # 64 levels, equally often
    array = to_array(Image.fromarray(ramp).convert("RGB"), variant(256, equalise=True))
    assert array.shape == (256, 256, 3)
    levels = np.unique(array)
    assert (levels[0], levels[-1], len(levels)) == (0, 255, 64)
    assert set(np.diff(levels)) <= {3, 4, 5}
    assert (array == array[..., :1]).all()


def test_a_mask_stays_a_mask():
    marked = np.zeros((32, 32), np.uint8)
    marked[8:24, 4:12] = 255
    mask = Mask(marked, (0, 255))
    np.testing.assert_array_equal(mask_to_array(mask, variant(32)), marked // 255)
    for size in (7, 16, 45):
        array = mask_to_array(mask, variant(size, equalise=True))
        assert array.dtype == np.uint8
        assert set(np.unique(array)) == {0, 1}
        assert array.mean() == pytest.approx(marked.mean() / 255, abs=0.06)
