"""DICOM files of noise."""

from io import BytesIO

import numpy as np
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset


def scan(seed: int, side: int = 16, **elements: str) -> bytes:
    """The bytes of an image of its own, with these elements in its header."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.SecondaryCaptureImageStorage, f"1.2.{seed}"
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel, dataset.PixelRepresentation = "MONOCHROME2", 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.Rows, dataset.Columns = side, side
    dataset.PixelData = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8).tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
