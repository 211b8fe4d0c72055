import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest

from medpipe.data.archive import Archive, stem
from medpipe.data.rows import distinct, read_table, single_rows
from medpipe.errors import InputError


def test_what_unpacks_to_gigabytes_is_refused_unread(zipped):
    path = zipped({})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("table.csv", "a/1.csv", "b/1.csv", "hmnist.csv", "c/1.csv"):
            archive.writestr(name, bytes(33 << 20 if name == "table.csv" else 1))
            if name in ("a/1.csv", "b/1.csv", "hmnist.csv"):
                archive.getinfo(name).file_size = 3 << 30  # in the listing, which is what counts
    archive = Archive(path)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"^table\.csv: too large: more than 33554432 bytes"):
        read_table(archive, "table.csv", ["id"])
    with pytest.raises(InputError, match=r"^hmnist\.csv: too large: more than 268435456 bytes"):
        archive.read("hmnist.csv#0")
    with pytest.raises(InputError, match=r"^a/1\.csv: too large: more than 536870912 bytes"):
        distinct(archive, ["a/1.csv", "b/1.csv"], stem)
    assert len(distinct(archive, ["a/1.csv", "c/1.csv"], stem)[1]) == 2  # of other sizes: they differ
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_copies_are_compared_piece_by_piece(zipped):
    data = bytearray(np.random.default_rng(0).bytes(5 << 20))
    path = zipped({"a/1.png": data, "b/1.png": data, "2.png": data, "b/2.png": data[:-1] + b"x"})
    archive = Archive(path)
    tracemalloc.start()
    files, problems = distinct(archive, archive.names(), stem)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert files == {"1": "a/1.png"}
    assert {problem.path for problem in problems} == {"2.png", "b/2.png"}


def test_a_damaged_copy_is_a_problem_of_both(zipped):
    path = zipped({"a/1.png": b"abcdefgh", "b/1.png": b"abcdefgh", "2.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgx", 1))
    files, problems = distinct(Archive(path), Archive(path).names(), stem)
    assert files == {"2": "2.png"}
    assert [problem.path for problem in problems] == ["a/1.png", "b/1.png"]
    assert all(p.reason.startswith("duplicate id: a/1.png: damaged: Bad CRC") for p in problems)


def test_one_file_a_key(folder):
    archive = Archive(folder({"a/1.png": b"x", "b/a/1.png": b"x", "a/2.png": b"x", "b/2.png": b"y"}))
    files, problems = distinct(archive, archive.names(), stem)
    assert files == {"1": "a/1.png"}
    assert [tuple(p) for p in problems] == [
        ("2", "a/2.png", "duplicate id: files that differ"),
        ("2", "b/2.png", "duplicate id: files that differ"),
    ]


def test_tables(folder):
    archive = Archive(
        folder(
            {
                "bom.csv": "\ufeffid, age\nNA,\n x ,5\n",
                "tabs.tab": '"id"\t"age"\n"a,b"\t5\n',
                "semicolons.csv": "id;age;note\r\nx;5;a, b\r\n",
                "ragged.csv": "id,age\na,1\nb,1,2,3\n",
                "empty.csv": "",
                "latin.csv": b"id,site\n1,H\xfcfte\n",
                "wide.csv": "id;size\n1;4,5\n".encode("utf-16"),
            }
        )
    )
    assert read_table(archive, "bom.csv", ["id", "age"]).to_numpy().tolist() == [["NA", ""], ["x", "5"]]
    assert read_table(archive, "tabs.tab", ["id", "age"]).to_numpy().tolist() == [["a,b", "5"]]
    columns = ["id", "age", "note"]
    assert read_table(archive, "semicolons.csv", columns).to_numpy().tolist() == [["x", "5", "a, b"]]
    with pytest.raises(InputError, match=r"semicolons\.csv: lacks the column sex; it has id, age, note"):
        read_table(archive, "semicolons.csv", ["id", "age", "sex"])
    with pytest.raises(InputError, match=r"bom\.csv: lacks the column sex, site; it has id, age"):
        read_table(archive, "bom.csv", ["id", "sex", "site"])
    assert read_table(archive, "latin.csv", ["id"]).to_numpy().tolist() == [["1", "Hüfte"]]
    assert read_table(archive, "wide.csv", ["id"]).to_numpy().tolist() == [["1", "4.5"]]
    for name in ("ragged.csv", "empty.csv"):
        with pytest.raises(InputError, match=rf"{name}: no readable table"):
            read_table(archive, name, ["id"])


def test_single_rows():
    table = pd.DataFrame({"id": [*"aabbc", "", ""], "x": [1, 1, 1, 2, 3, 4, 4]})
    rows, problems = single_rows(table)
    assert rows["id"].tolist() == ["a", "c"]
    assert [(p.id, p.reason.split(": ")[1]) for p in problems] == [
        ("", "row 6 of the table"),
        ("", "row 7 of the table"),
        ("b", "rows that differ"),
        ("b", "rows that differ"),
        ("a", "the row again"),
    ]
