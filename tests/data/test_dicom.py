"""DICOM files: masks, frames, headers, and what is refused."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from declared import own_task
from dicoms import FILE, FULL, MANY, RAMP, SPLIT, item, read, sample, write
from joblib import cpu_count
from pydicom import Sequence, dcmread, uid
from pydicom.data.data_manager import DATA_ROOT

from medpipe.data.archive import Archive, stem
from medpipe.data.dicom import Header, header
from medpipe.data.images import decode, decode_mask, names
from medpipe.data.parts import parted_rows
from medpipe.data.rows import Rows
from medpipe.errors import Unreadable
from medpipe.params import Percentiles, Values


def bare(data):
    """Without preamble; and without the elements of group 2, of which the first says how long it is."""
    return data[132:], data[144 + int.from_bytes(data[140:144], "little") :]


def test_files_without_a_preamble_are_read(folder):
    data = write(RAMP, PatientID="P7")
    for some in bare(data):
        np.testing.assert_array_equal(read(some, FULL), RAMP // 257)
        assert header(some, name="").patient == "P7"
        assert Archive(folder({"s/IM-0001": some})).images() == ["s/IM-0001"]
    window = FULL.model_copy(update={"window": Values(values=(0, 3000))})
    plain = read(sample("MR_small.dcm"), window)
    for kind in ("bigendian", "implicit"):
        for some in bare(sample(f"MR_small_{kind}.dcm")):
            np.testing.assert_array_equal(read(some, window), plain)


def test_eight_bit_colours_are_as_they_are():
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(read(write(colours, SamplesPerPixel=3, PhotometricInterpretation="RGB")), colours)


def test_a_mask_has_the_values_of_its_file_whatever_shows_them():
    """16 bits, a rescale, white as zero, a window of the file's own."""
    labels = np.array([[0, 1], [700, 1001]], np.uint16)
    shown = {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 5, "WindowWidth": 9}
    plain = FILE.model_copy(update={"window": None})
    mask = decode_mask(
        write(labels, RescaleSlope=2, RescaleIntercept=-1, **shown), name="", max_pixels=9, decoding=plain
    )
    np.testing.assert_array_equal(mask.values, 2 * labels.astype(int) - 1)
    assert mask.held == (-1, 1, 1399, 2001)
    colours = write(np.zeros((4, 5, 3), np.uint8), SamplesPerPixel=3, PhotometricInterpretation="RGB")
    with pytest.raises(Unreadable, match=r"m\.dcm: mask values: in colours \(RGB\)"):
        decode_mask(colours, name="m.dcm", max_pixels=MANY, decoding=plain)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"ImagePositionPatient": [0, 0.01, 30]}, None),
        ({"ImagePositionPatient": [0, 0, 33]}, "up to 3 mm apart: origin 0 x 0 x 33, the image's 0 x 0 x 30"),
        ({"PixelSpacing": [0.5, 1]}, "up to 7.5 mm apart: voxels 0.5 x 1, the image's 1 x 1"),
        (
            {"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]},
            "up to 30 mm apart: directions 0 x 1 x 0 x -1 x 0 x 0, the image's 0 x 1 x 0 x 1 x 0 x 0",
        ),
    ],
)
def test_a_mask_lies_where_its_image_lies(ingest, changes, said):
    place = {"ImagePositionPatient": [0, 0, 30], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    files = {"a.dcm": write(RAMP, **place), "a_mask.dcm": write(RAMP // 65535, **place | changes)}
    files |= {"b.dcm": write(RAMP.T), "b_mask.dcm": write(RAMP // 65535)}  # which do not say
    reader = {"kind": "pairs", "images": "(.+)", "masks": "(.+)_mask"}
    reader |= {"codes": {}, "group": None, "ungrouped": "refuse"}
    manifest, reasons, _ = ingest(files, reader, kind="segment", mask_values={"lesion": [1]}, decoding=FULL)
    assert [*manifest.index] == ["a", "b"] if said is None else ["b"]
    assert reasons == ({} if said is None else {"a": f"mask beside its image: a.dcm has another grid: {said}"})


@pytest.mark.skipif(cpu_count() < 2, reason="one processor")
def test_headers_are_read_in_processes(folder, monkeypatch):
    """130 files are two chunks, of which this process opens none; the second holds a file of two frames."""
    files = {f"{i:03}.dcm": write(RAMP + i, PatientID=f"P{i}", BurnedInAnnotation="YES") for i in range(130)}
    files["129.dcm"] = write(np.stack([RAMP, RAMP.T]), PatientID="P129")
    reader = {"kind": "folders", "codes": {}, "sets": "ignore", "group": "dicom", "ungrouped": "refuse"}
    task = own_task(folder(files), reader, decoding=SPLIT)
    archive, columns = Archive(task.archive), ("id", "path", "group", "mask_path")
    table = pd.DataFrame([(name[:3], name, "", "") for name in files], columns=columns)
    monkeypatch.setattr(Archive, "read", lambda *_, **__: pytest.fail("read here"))
    found = parted_rows(archive, Rows(table, []), task, MANY)
    assert found.table["id"].tolist() == [*(name[:3] for name in list(files)[:129]), "129-0", "129-1"]
    assert found.table["group"].tolist() == [*(f"P{i}" for i in range(130)), "P129"]
    assert (found.problems, [note[:35] for note in found.notes]) == ([], ["annotations are burned into 129 DIC"])


def test_frames_are_refused_or_split():
    cine = np.stack([RAMP, RAMP[::-1], RAMP.T])
    data = write(cine)
    with pytest.raises(
        Unreadable, match=r"a\.dcm: several images: 3, one a file wanted; or set decoding\.frames: split"
    ):
        read(data)
    assert names(data, name="a.dcm", max_pixels=MANY, decoding=SPLIT) == ["a.dcm#0", "a.dcm#1", "a.dcm#2"]
    assert names(write(RAMP), name="a.dcm", max_pixels=MANY, decoding=SPLIT) == ["a.dcm"]
    for place, frame in enumerate(cine):
        np.testing.assert_array_equal(read(data, SPLIT, f"a.dcm#{place}"), frame // 257)
    for name in ("a.dcm", "a.dcm#3"):
        with pytest.raises(Unreadable, match="several images: say which, from #0 to #2"):
            read(data, SPLIT, name)


def test_an_enhanced_file_has_a_rescale_and_window_a_frame():
    groups = [
        item(
            PixelValueTransformationSequence=item(RescaleSlope=slope, RescaleIntercept=0),
            FrameVOILUTSequence=item(WindowCenter=128, WindowWidth=256),
        )[0]
        for slope in (1, 2)
    ]
    data = write(np.stack([RAMP // 257] * 2), PerFrameFunctionalGroupsSequence=Sequence(groups))
    own = SPLIT.model_copy(update={"window": "file"})
    np.testing.assert_array_equal(read(data, own, "a.dcm#0"), RAMP // 257)
    np.testing.assert_array_equal(read(data, own, "a.dcm#1"), (2 * (RAMP // 257)).clip(0, 255))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"PhotometricInterpretation": "PALETTE COLOR"},
            "colour model: PALETTE COLOR, 1 of 16 bits a pixel",
        ),
        ({"PhotometricInterpretation": "RGB"}, "colour model: RGB, 1 of 16 bits"),
        ({"SamplesPerPixel": 2}, "colour model: MONOCHROME2, 2 of 16 bits"),
        ({"Rows": 0}, "damaged: 16 x 0 pixels"),
        ({"Rows": 17}, "damaged: "),
        ({"Rows": 60_000, "Columns": 60_000}, "too many pixels: 60000 x 60000, 1 frames, at most 1048576"),
        ({"NumberOfFrames": 1 << 30}, "too many pixels: 16 x 16, 1073741824 frames"),
        ({}, "window: the file names none; set decoding.window: full, values or percentiles"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "window: the file's is 0 wide"),
        ({"WindowCenter": None, "WindowWidth": 9}, "window: the file names none"),
        ({"BitsStored": None, "Columns": None}, "missing elements: Columns (0028,0011), Bits Stored (0028,0101)"),
        ({"ModalityLUTSequence": item(LUTDescriptor=[2, 0, 8])}, "missing elements: LUT Data (0028,3006)"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "window: the file's VOI LUT function CUBIC"),
    ],
)
def test_what_is_not_read_is_refused_by_name(changes, reason):
    with pytest.raises(Unreadable) as error:
        read(write(RAMP, **changes))
    assert error.value.reason.startswith(reason)


def test_a_task_without_a_window_refuses_greys():
    with pytest.raises(Unreadable, match=r"window: none is set.*set decoding\.window: full, values or percentiles"):
        read(write(RAMP), FILE.model_copy(update={"window": None}))


@pytest.mark.parametrize(
    "syntax",
    [uid.DeflatedExplicitVRLittleEndian, uid.MPEG4HP41, uid.HTJ2KLossless, uid.JPEGLosslessSV1, uid.UID("1.2.840.9")],
)
def test_a_transfer_syntax_that_is_not_read_is_named(syntax):
    plain, other = (
        b"UI" + len(u + "\0").to_bytes(2, "little") + u.encode() for u in (uid.ExplicitVRLittleEndian, syntax)
    )
    data = write(RAMP)
    assert plain in data
    with pytest.raises(Unreadable) as error:
        read(data.replace(plain, other))
    assert (
        error.value.reason
        == f"transfer syntax: {syntax.name} is not read; unpack the file (`gdcmconv --raw`, `dcmdjpeg`)"
    )


def test_a_file_cut_anywhere_is_refused_or_whole():
    data = write(RAMP)
    for end in range(0, len(data), 7):
        with pytest.raises(Unreadable):
            read(data[:end], FULL)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPEG2000.dcm"])
def test_a_file_with_bytes_changed_is_refused_or_read(name):
    whole, rng = sample(name), np.random.default_rng(0)
    for _ in range(50):
        data = bytearray(whole)
        for place in rng.integers(132, len(data), 9):
            data[place] = rng.integers(256)
        try:
            image = decode(bytes(data), name=name, max_pixels=MANY, decoding=SPLIT)
        except Unreadable:
            continue
        assert image.width * image.height <= MANY


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_a_packed_frame_of_another_size_than_the_headers_is_not_unpacked(name):
    dataset, file = dcmread(Path(DATA_ROOT, "test_files", name)), BytesIO()
    rows, dataset.Rows = dataset.Rows, 10
    dataset.save_as(file)
    columns = dataset.Columns
    with pytest.raises(Unreadable, match=f"damaged: {columns} x 10 pixels, packed {columns} x {rows}"):
        read(file.getvalue(), FULL)


def test_of_the_header_patient_and_burned_in_annotation_are_told():
    assert header(write(RAMP, PatientID=" P7 ", BurnedInAnnotation="YES"), name="") == Header("P7", "", True)
    assert header(write(RAMP, BurnedInAnnotation="NO"), name="") == Header("", "", False)
    assert header(write(RAMP, PatientID="", StudyInstanceUID="1.2"), name="") == Header("", "1.2", None)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("CT_small.dcm", (128, 128)),
        ("MR_small.dcm", (64, 64)),
        ("MR_small_bigendian.dcm", (64, 64)),
        ("MR_small_RLE.dcm", (64, 64)),
        ("MR_small_jp2klossless.dcm", (64, 64)),
        ("JPEG2000.dcm", (1024, 256)),
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100, 3)),
        ("SC_rgb_rle.dcm", (100, 100, 3)),
        ("SC_ybr_full_422_uncompressed.dcm", (100, 100, 3)),
    ],
)
def test_samples_are_read_whole(name, size):
    window = FILE.model_copy(update={"window": Percentiles(percentiles=(0, 100))})
    array = read(sample(name), window)
    assert array.shape == size
    assert array.std() > 10


def test_all_packings_of_one_image_are_alike():
    window = FILE.model_copy(update={"window": Percentiles(percentiles=(0, 100))})
    plain = read(sample("MR_small.dcm"), window)
    for kind in ("bigendian", "implicit", "RLE", "jp2klossless"):
        np.testing.assert_array_equal(read(sample(f"MR_small_{kind}.dcm"), window), plain)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rtplan.dcm", "no pixels"),
        ("test-SR.dcm", "no pixels"),
        ("MR_truncated.dcm", "damaged"),
        ("MR_small_jpeg_ls_lossless.dcm", "transfer syntax: JPEG-LS Lossless Image Compression is not read"),
        ("image_dfl.dcm", "transfer syntax: Deflated Explicit VR Little Endian is not read"),
        ("no_meta.dcm", "no image"),
        ("examples_palette.dcm", "colour model: PALETTE COLOR"),
        ("JPGExtended.dcm", "transfer syntax: JPEG Extended (Process 2 and 4) of 12 bits is not read"),
    ],
)
def test_samples_that_are_no_images_are_refused(name, reason):
    with pytest.raises(Unreadable) as error:
        read(sample(name), FULL)
    assert error.value.reason.startswith(reason)


def test_an_archive_lists_dicom_files_without_an_ending(folder):
    data = write(RAMP)
    listed = {"a.dcm": data, "s/IM-0001": data, "s/1.2.840.7": data, "s/a.ori": data}
    archive = Archive(folder(listed | {"README": b"x" * 200, "s/notes.txt": b"x", "1.5": b"short"}))
    assert archive.images() == sorted(listed)
    assert [stem(name) for name in archive.images()] == ["a", "1.2.840.7", "IM-0001", "a"]
    assert archive.read("s/IM-0001#2") == data
    assert stem("s/IM-0001#2") == "IM-0001-2"
