"""Excel workbooks in an archive."""

import zipfile
from collections.abc import Sequence
from io import BytesIO

import pandas as pd
from openpyxl import load_workbook

from medpipe.data.archive import PACKED, Archive
from medpipe.errors import InputError

LARGEST = 1 << 26  # bytes, packed or unpacked; of 10,192 rows with a name and a URL 3.0 million
WIDEST, LONGEST = 64, 1 << 20  # columns, rows; a cell may name any place, and all before it would be filled up


def read_workbook(archive: Archive, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """`columns` (where none is given all that have a name) of an .xlsx file's first sheet below its header, without
    empty rows, all values as stripped strings, '' for an empty cell and for Excel's #N/A.

    Raises InputError for what is no workbook, packs more than LARGEST or otherwise than Excel does, or lacks one of
    `columns` among its first WIDEST.
    """
    data = archive.read(name, limit=LARGEST)
    try:
        with zipfile.ZipFile(BytesIO(data)) as book:
            _check_size(book, name)
        sheet = load_workbook(BytesIO(data), read_only=True).worksheets[0]
        rows = sheet.iter_rows(max_col=WIDEST, max_row=LONGEST, values_only=True)
        header = [str(cell or "").strip() for cell in next(rows, ())]
        columns = columns or [column for column in header if column]
        places = [header.index(column) for column in columns if column in header]
        cells = [cells for row in rows if any(cells := [row[place] for place in places])]
    except InputError:
        raise
    except Exception as error:  # openpyxl lets the errors of zip and XML readers through
        raise InputError(f"{name}: no readable workbook ({error}); download it again") from None
    if missing := [column for column in columns if column not in header]:
        raise InputError(f"{name}: lacks the column {', '.join(missing)}; it has {', '.join(filter(None, header))}")
    table = pd.DataFrame(cells, columns=list(columns), dtype=object)
    return table.map(lambda cell: "" if cell in (None, "#N/A") else str(cell).strip())


def _check_size(book: zipfile.ZipFile, name: str) -> None:
    """By the zip's listing, which bounds what parts of the methods PACKED unpack to; Excel uses no others."""
    size = sum(part.file_size for part in book.infolist())
    if size > LARGEST:
        raise InputError(f"{name}: unpacks to {size} bytes, more than {LARGEST}; keep only the table in it")
    for part in book.infolist():
        if part.compress_type not in PACKED:
            raise InputError(f"{name}: {part.filename!r} is not packed as Excel packs; save it from Excel again")
