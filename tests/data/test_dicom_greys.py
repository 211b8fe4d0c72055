"""The greys of DICOM files: windows, tables, padding, held against pydicom's own functions."""

from pathlib import Path

import numpy as np
import pytest
from dicoms import FILE, FULL, RAMP, SPLIT, item, read, write
from pydicom import Sequence, dcmread
from pydicom.data.data_manager import DATA_ROOT
from pydicom.pixels import apply_rescale, apply_voi_lut, pixel_array

from medpipe.errors import Unreadable
from medpipe.params import Percentiles, Values


def test_sixteen_bits_under_the_full_window_are_their_high_byte():
    np.testing.assert_array_equal(read(write(RAMP), FULL), RAMP // 257)
    np.testing.assert_array_equal(read(write((RAMP - 32768.0).astype(np.int16)), FULL), RAMP // 257)
    twelve = (RAMP // 257 * 16).astype(np.uint16)
    np.testing.assert_array_equal(read(write(twelve, BitsStored=12, HighBit=11), FULL), np.rint(twelve / 4095 * 255))


def test_a_window_of_the_rescaled_values():
    """Stored 0 to 255, shown as -100 to 155 by the rescale."""
    data = write(RAMP // 257, RescaleSlope=2, RescaleIntercept=-100)  # -100 to 410
    window = FILE.model_copy(update={"window": Values(values=(0, 255))})
    np.testing.assert_array_equal(read(data, window), np.clip(2.0 * (RAMP // 257) - 100, 0, 255))


def test_percentiles_are_of_the_image():
    window = FILE.model_copy(update={"window": Percentiles(percentiles=(0, 100))})
    np.testing.assert_array_equal(read(write(RAMP // 257 // 2), window), np.rint((RAMP // 257 // 2) * (255 / 127)))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (None, lambda x: np.clip(((x - 99.5) / 50 + 0.5) * 255, 0, 255)),
        ("LINEAR", lambda x: np.clip(((x - 99.5) / 50 + 0.5) * 255, 0, 255)),
        ("LINEAR_EXACT", lambda x: np.clip(((x - 100) / 51 + 0.5) * 255, 0, 255)),
        ("SIGMOID", lambda x: 255 / (1 + np.exp(-4 * (x - 100) / 51))),
    ],
)
def test_the_files_own_window(function, expected):
    """By the formulas of PS3.3 C.11.2.1."""
    changes = {"WindowCenter": [100, 7], "WindowWidth": [51, 7]} | ({"VOILUTFunction": function} if function else {})
    x = RAMP / 257
    np.testing.assert_allclose(read(write(RAMP // 257, **changes)), expected(x), atol=0.5 + 1e-9)


def test_monochrome_1_is_the_inverse():
    changes = {"WindowCenter": 100, "WindowWidth": 51}
    for decoding in (FILE, FULL):
        bright = read(write(RAMP, **changes), decoding)
        np.testing.assert_array_equal(
            read(write(RAMP, PhotometricInterpretation="MONOCHROME1", **changes), decoding), 255 - bright
        )


def test_tables_take_the_place_of_rescale_and_window():
    """A modality's table that doubles, then one of a window that turns; both hold their ends beyond them."""
    stored = RAMP // 257
    doubled = item(LUTDescriptor=[101, 0, 16], LUTData=np.arange(0, 202, 2, np.uint16).tobytes())
    data = write(stored, ModalityLUTSequence=doubled)
    window = FILE.model_copy(update={"window": Values(values=(0, 255))})
    np.testing.assert_array_equal(read(data, window), 2 * stored.clip(0, 100))
    turned = item(LUTDescriptor=[256, 0, 8], LUTData=np.arange(255, -1, -1, np.uint8).tobytes())
    np.testing.assert_array_equal(read(write(stored, VOILUTSequence=turned)), 255 - stored)
    both = write(stored, ModalityLUTSequence=doubled, VOILUTSequence=turned)
    np.testing.assert_array_equal(read(both), 255 - 2 * stored.clip(0, 100))


def test_what_is_empty_is_absent():
    shown = {"WindowCenter": 128, "WindowWidth": 256}
    empty = {"RescaleSlope": None, "RescaleIntercept": None, "VOILUTFunction": None, "PixelPaddingValue": None}
    data = write(RAMP // 257, ModalityLUTSequence=Sequence([]), **empty, **shown)
    np.testing.assert_array_equal(read(data), RAMP // 257)
    data = write(RAMP // 257, RescaleSlope=None, RescaleIntercept=-28, WindowCenter=100, WindowWidth=256)
    np.testing.assert_array_equal(read(data), RAMP // 257)


def test_a_window_narrower_than_one_grey_is_exact():
    """Of a rescale that gives shares: 0 to 1, of which the lower half is shown."""
    data = write(RAMP // 257, RescaleSlope="0.00392156862745", RescaleIntercept=0, WindowCenter=0.25, WindowWidth=0.5)
    np.testing.assert_allclose(read(data), (2 * (RAMP // 257)).clip(0, 255), atol=1)


LOWER = np.rint((RAMP // 257 - 128.0) * (255 / 127))[8:]  # of the lower half of the ramp, from its least to its most


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_padding_has_no_part_in_percentiles(kind):
    """Half of the image is padding: a value, or one of a range."""
    stored = (RAMP // 257 + 100).astype(kind)
    stored[:8] = np.array(63536).astype(kind)  # -2000
    window = FILE.model_copy(update={"window": Percentiles(percentiles=(0, 100))})
    own = int(stored[0, 0])
    for changes in ({"PixelPaddingValue": own}, {"PixelPaddingValue": own - 5, "PixelPaddingRangeLimit": own + 5}):
        np.testing.assert_array_equal(read(write(stored, **changes), window)[8:], LOWER)
    assert np.ptp(read(write(stored), window)[8:].astype(int)) < 20
    assert read(write(np.full_like(stored, own), PixelPaddingValue=own), window).max() == 0


def test_several_windows_are_channels():
    """A brain's and a lung's; of MONOCHROME1 each is turned."""
    data = write((RAMP // 257 * 8).astype(np.int16), RescaleSlope=1, RescaleIntercept=-1024)
    windows = FILE.model_copy(update={"window": ((40, 80), (-600, 1500), (0, 2048))})
    units = RAMP // 257 * 8.0 - 1024
    shown = np.stack([units * (255 / 80), (units + 1350) * (255 / 1500), (units + 1024) * (255 / 2048)], axis=-1)
    expected = np.rint(shown.clip(0, 255))
    np.testing.assert_array_equal(read(data, windows), expected)
    inverse = data.replace(b"MONOCHROME2", b"MONOCHROME1")
    np.testing.assert_array_equal(read(inverse, windows), 255 - expected)


def test_padding_of_the_other_sign_is_padding():
    """63536 beside signed pixels of -2000, as scanners write it."""
    stored = np.full((16, 16), -2000, np.int16)
    stored[8:] = (RAMP // 257)[8:]
    data = write(stored, PixelPaddingValue=-2000)
    signed = b"\x28\0\x20\1SS\2\0" + (-2000).to_bytes(2, "little", signed=True)
    assert signed in data
    window = FILE.model_copy(update={"window": Percentiles(percentiles=(0, 100))})
    np.testing.assert_array_equal(read(data.replace(signed, signed.replace(b"SS", b"US")), window)[8:], LOWER)


RAMP_8 = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize(
    "table",
    [
        {"LUTDescriptor": [256, 0, 8], "LUTData": RAMP_8.tobytes()},
        {"LUTDescriptor": [256, 0, 8], "LUTData": RAMP_8.astype("<u2").tobytes()},  # a word an entry
        {"LUTDescriptor": [256, 0, 8], "LUTData": RAMP_8.view("<u2").tolist()},  # two entries a word
        {"LUTDescriptor": [256, 0, 16], "LUTData": RAMP_8.tobytes()},  # 8 bits, described as 16
        {"LUTDescriptor": [256, 0, 16], "LUTData": RAMP_8.tolist()},
        {"LUTDescriptor": [256, 0, 16], "LUTData": (RAMP_8.astype("<u2") * 257).tobytes()},
        {"LUTDescriptor": [256, 0, 8], "LUTData": (RAMP_8.astype("<u2") * 257).tobytes()},  # 16 bits, described as 8
        {"LUTDescriptor": [256, 0, 12], "LUTData": (RAMP_8 * 16.06).astype("<u2").tobytes()},
        {"LUTDescriptor": [300, 0, 8], "LUTData": RAMP_8.astype("<u2").tobytes()},  # fewer entries than described
    ],
)
def test_a_table_is_as_wide_as_its_data(table):
    np.testing.assert_allclose(read(write(RAMP // 257, VOILUTSequence=item(**table))), RAMP // 257, atol=1)


def test_where_a_table_begins_goes_by_the_values():
    """-100 as unsigned, of values that a rescale made signed; 40000, of unsigned ones."""
    ramp = RAMP_8.tobytes()
    rescaled = write(
        RAMP // 257, RescaleSlope=1, RescaleIntercept=-100,
        VOILUTSequence=item(LUTDescriptor=[256, 65436, 8], LUTData=ramp),
    )  # fmt: skip
    np.testing.assert_array_equal(read(rescaled), RAMP // 257)
    high = write(
        (RAMP // 257 + 40000).astype(np.uint16), VOILUTSequence=item(LUTDescriptor=[256, 40000, 8], LUTData=ramp)
    )
    np.testing.assert_array_equal(read(high), RAMP // 257)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of what is amiss in these files
def test_greys_are_pydicoms_own():
    """Of every file that comes with pydicom: under the window that it names, else of all that its type holds."""
    seen = {"file": 0, "full": 0}
    for path in sorted(Path(DATA_ROOT, "test_files").rglob("*.dcm")):
        try:
            read(path.read_bytes(), SPLIT, f"{path.name}#0")
        except Unreadable:
            continue
        dataset = dcmread(path)
        if dataset.SamplesPerPixel > 1:
            continue
        window = "file" if "WindowCenter" in dataset or "VOILUTSequence" in dataset else "full"
        greys = read(path.read_bytes(), SPLIT.model_copy(update={"window": window}), f"{path.name}#0")
        low = -(1 << dataset.BitsStored - 1) if dataset.PixelRepresentation else 0
        low, high = apply_rescale(np.array([low, low + (1 << dataset.BitsStored) - 1]), dataset)
        shown = apply_voi_lut(apply_rescale(pixel_array(dataset, index=0), dataset), dataset)
        expected = (shown - float(low)) * (255 / (float(high) - low))
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            expected = 255 - expected
        np.testing.assert_allclose(greys, expected, atol=0.5 + 1e-6, err_msg=path.name)
        seen[window] += 1
    assert min(seen.values()) >= 10
