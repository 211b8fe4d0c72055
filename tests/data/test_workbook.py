import zipfile
from io import BytesIO

import pytest
from openpyxl import Workbook

from medpipe.data import workbook
from medpipe.data.archive import Archive
from medpipe.data.workbook import read_workbook
from medpipe.errors import InputError

COLUMNS = ("FILE NAME", "URL")


@pytest.fixture
def read(folder):
    """read(cells) or read(bytes): the table of a workbook of these cells ({place: value}) or bytes."""

    def run(book):
        if isinstance(book, dict):
            book = packed(book)
        return read_workbook(Archive(folder({"a.xlsx": book})), "a.xlsx", COLUMNS)

    return run


def packed(cells):
    book, buffer = Workbook(), BytesIO()
    for place, value in ({"A1": "FILE NAME", "B1": "SIZE", "C1": " URL "} | cells).items():
        book.active[place] = value
    book.save(buffer)
    return buffer.getvalue()


def repacked(data, method=zipfile.ZIP_DEFLATED, **parts):
    """The workbook with each part packed by `method`, and more `parts`."""
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for name, part in parts.items():
            new.writestr(name, part)
    return buffer.getvalue()


def test_cells_are_stripped_strings_and_empty_where_missing(read):
    cells = {"A2": " COVID-1 ", "C2": "https://a.example", "A3": 7, "C3": "#N/A", "C4": " ", "A5": "b", "C5": "none"}
    table = read(cells)
    assert tuple(table) == COLUMNS
    assert table.to_numpy().tolist() == [["COVID-1", "https://a.example"], ["7", ""], ["", ""], ["b", "none"]]
    assert read({}).empty


def test_what_unpacks_to_more_than_the_limit_is_refused(read, monkeypatch):
    data = packed({"A2": "a"})
    bomb = repacked(data, bomb=bytes(workbook.LARGEST))
    assert len(bomb) < 1 << 20
    with pytest.raises(InputError, match=rf"^a\.xlsx: unpacks to \d+ bytes, more than {workbook.LARGEST}; keep only"):
        read(bomb)
    with pytest.raises(InputError, match=r"'.*' is not packed as Excel packs"):
        read(repacked(data, zipfile.ZIP_BZIP2))
    monkeypatch.setattr(workbook, "LARGEST", len(data) - 1)
    with pytest.raises(InputError, match=r"^a\.xlsx: too large"):
        read(data)


def test_a_cell_at_the_far_end_fills_nothing_up(read):
    far = {f"XFD{row}": "x" for row in range(2, 400)} | {"XFD1048576": "x", "A2": "a"}
    assert read(far).to_numpy().tolist() == [["a", ""]]


def test_no_workbook_and_one_without_the_columns(read):
    with pytest.raises(InputError, match=r"^a\.xlsx: no readable workbook"):
        read(b"FILE NAME,URL")
    with pytest.raises(InputError, match=r"^a\.xlsx: lacks the column URL; it has FILE NAME, SIZE, LINK$"):
        read({"C1": "LINK"})
