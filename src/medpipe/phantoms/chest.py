"""A stand-in for the COVID-19 Radiography Database (doi 10.1109/ACCESS.2020.3010287), in its files and layout.

The classes differ in the lungs. COVID: patchy, outer and lower parts of both. Lung_Opacity: one dense lobe. Viral
Pneumonia: a streaky haze around the hila of both, in a smaller chest. Normal: clear. Each hospital's pictures have a
grey scale and a corner mark of their own, and each class comes mostly from its own hospitals: the original's trap.
As in the original, the address's host alone does not tell the hospitals apart.
"""

import zipfile
from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from openpyxl import Workbook
from openpyxl.writer.excel import ExcelWriter

from medpipe.params import ChestPhantom
from medpipe.phantoms.chest_drawing import draw
from medpipe.phantoms.drawing import apportion

COLUMNS = ("FILE NAME", "FORMAT", "SIZE", "URL")
SHARES = {"COVID": 0.171, "Lung_Opacity": 0.284, "Normal": 0.482, "Viral Pneumonia": 0.063}  # as in the original
FEWEST = 45  # images of a class: the 20 % of the test set are the 8 that an interval needs

SOURCES = (  # two hospitals of one host, and two of their own
    "archive.example/north-hospital/chest-xray", "archive.example/south-hospital/chest-xray",
    "city.hospital.example/chest-xray", "children.hospital.example/chest-xray",
)  # fmt: skip
MIXED = {  # share of each source in a class
    "COVID": (0.75, 0.05, 0.15, 0.05),
    "Lung_Opacity": (0.05, 0.80, 0.15, 0.00),
    "Normal": (0.05, 0.65, 0.20, 0.10),
    "Viral Pneumonia": (0.05, 0.00, 0.15, 0.80),
}
NO_URL = 0.02
EPOCH = datetime(2020, 1, 1)


def write(folder: Path, settings: ChestPhantom) -> None:
    """Write the archive into the existing `folder`. The same settings give the same bytes."""
    root = folder / "COVID-19_Radiography_Dataset"
    root.mkdir()
    for number, (label, count) in enumerate(apportion(SHARES, settings.images, FEWEST).items()):
        images = root / label / "images"
        images.mkdir(parents=True)
        rows = []
        for index in range(1, count + 1):
            rng = np.random.default_rng([settings.seed, number, index])
            source = int(rng.choice(len(SOURCES), p=MIXED[label]))
            url = "" if rng.random() < NO_URL else f"https://{SOURCES[source]}"
            draw(rng, label, source, settings.size).save(images / f"{label}-{index}.png")
            rows.append((f"{label}-{index}", "PNG", f"{settings.size}*{settings.size}", url))
        _write_xlsx(root / f"{label}.metadata.xlsx", rows)


def _write_xlsx(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    """One sheet of `rows` below COLUMNS; every date in the file, the zip's own too, is EPOCH."""
    book = Workbook()
    book.properties.created = book.properties.modified = EPOCH
    sheet = book.active
    assert sheet is not None
    for row in (COLUMNS, *rows):
        sheet.append([value or None for value in row])
    dated = BytesIO()
    with zipfile.ZipFile(dated, "w") as archive:
        ExcelWriter(book, archive).save()  # unlike book.save, it leaves `modified` alone
    with zipfile.ZipFile(dated) as written, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in written.namelist():
            target.writestr(zipfile.ZipInfo(name, EPOCH.timetuple()[:6]), written.read(name), zipfile.ZIP_DEFLATED)
