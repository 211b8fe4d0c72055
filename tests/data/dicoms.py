"""DICOM files made of arrays, those that come with pydicom, and how they are read."""

from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, Sequence, uid
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import FileMetaDataset

from medpipe.data.images import decode
from medpipe.params import Decoding

MANY = 1 << 20
FILE = Decoding(window="file", frames="refuse", axis=None, context=0, max_voxels=MANY)
FULL = FILE.model_copy(update={"window": "full"})
SPLIT = FULL.model_copy(update={"frames": "split"})
RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257  # 0 to 65535


def write(stored, **changes):
    """The bytes of a DICOM file of these stored values, (h, w) or (frames, h, w), or (h, w, 3) under RGB."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.SecondaryCaptureImageStorage, "1.2.3"
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.BitsAllocated = dataset.BitsStored = 8 * stored.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    if changes.get("SamplesPerPixel") == 3:
        dataset.Rows, dataset.Columns, dataset.PlanarConfiguration = *stored.shape[:2], 0
        del dataset.NumberOfFrames
    dataset.PixelData = stored.tobytes()
    for key, value in changes.items():
        setattr(dataset, key, value)
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def read(data, decoding=FILE, name="a.dcm", max_pixels=MANY):
    """(h, w) greys or (h, w, 3) colours."""
    array = np.asarray(decode(data, name=name, max_pixels=max_pixels, decoding=decoding))
    return array[..., 0] if (array == array[..., :1]).all() else array


def item(**values):
    dataset = Dataset()
    for key, value in values.items():
        if key == "LUTData" and isinstance(value, list):
            dataset.add_new(key, "US", value)
        else:
            setattr(dataset, key, value)
    return Sequence([dataset])


def sample(name):
    return Path(DATA_ROOT, "test_files", name).read_bytes()
