import os
import pickle
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from declared import EIGHT_BIT

from medpipe.data.archive import Archive
from medpipe.data.images import decode
from medpipe.errors import InputError, Unreadable

FILES = {"top/a.jpg": b"one", "top/deeper/b.PNG": b"two", "table.csv": b"x,y\n1,2\n"}


def test_a_folder_and_a_zip_read_alike(folder, zipped):
    for path in (folder(FILES), zipped(FILES)):
        archive = Archive(path)
        assert archive.names() == sorted(FILES)
        assert archive.images() == ["top/a.jpg", "top/deeper/b.PNG"]
        assert {name: archive.read(name) for name in archive.names()} == FILES
        with archive.open("top/a.jpg") as file:
            assert file.read(2) == b"on"


def test_zips_in_the_folder_are_seen_through(folder, zipped):
    path = folder({"table.csv": b"x"})
    zipped({"in/a.jpg": b"one"}, "archive/part_1.zip")
    assert Archive(path).names() == ["part_1.zip!/in/a.jpg", "table.csv"]
    assert Archive(path).read("part_1.zip!/in/a.jpg") == b"one"


def test_another_process_opens_its_own(zipped):
    path = zipped(FILES)
    archive = pickle.loads(pickle.dumps(Archive(path)))
    assert archive.names() == Archive(path).names()
    assert archive.read("top/a.jpg") == b"one"


def test_a_part_holds_what_it_was_given_alone_in_another_process_too(folder, zipped):
    for path in (folder(FILES), zipped(FILES)):
        whole = Archive(path)
        part = pickle.loads(pickle.dumps(whole.part(["top/a.jpg#3", ""])))
        assert part.names() == ["top/a.jpg"]
        assert part.read("top/a.jpg") == whole.read("top/a.jpg")
        assert len(pickle.dumps(part)) < len(pickle.dumps(whole))


def test_hidden_files_and_litter_are_passed_over(folder, zipped):
    hidden = {".DS_Store": b"x", "__MACOSX/top/._a.jpg": b"x", "top/._a.jpg": b"x", "top/@eaDir/a.jpg/small.jpg": b"x"}
    hidden |= {"Thumbs.db": b"x", "top/Desktop.ini": b"x", "top/~$table.xlsx": b"x", "$RECYCLE.BIN/a.jpg": b"x"}
    assert Archive(folder(FILES | hidden)).names() == sorted(FILES)
    assert Archive(zipped(FILES | hidden | {"./b.jpg": b"x"})).names() == ["./b.jpg", *sorted(FILES)]


def test_windows_names_in_a_zip_and_unpacked_as_they_were(folder, zipped):
    files = {"top\\a.jpg": b"one", "top\\deeper\\b.PNG": b"two", "table.csv": b"x,y\n1,2\n"}
    folders = {"top\\": b"", "top\\deeper\\": b""}
    litter = {"top\\Thumbs.db": b"x", "__MACOSX\\a.jpg": b"x"}
    for path in (zipped(folders | files | litter), folder(files | litter)):
        archive = Archive(path)
        assert {name: archive.read(name) for name in archive.names()} == FILES
    with pytest.raises(InputError, match=r"holds 'top/a\.jpg' twice; remove one"):
        Archive(folder(files | {"top/a.jpg": b"one"}))


def test_names_that_are_not_utf_8_are_written_out(tmp_path, folder, zipped):
    path = folder(FILES)
    shutil.copy(path / "top/a.jpg", os.fsencode(path) + b"/caf\xe9.jpg")
    assert Archive(path).read("caf\\xe9.jpg") == b"one"
    path = zipped({"caf\u00e9.jpg": b"x"})  # says that it is UTF-8
    path.write_bytes(path.read_bytes().replace("caf\u00e9".encode(), b"caf\xe9\xe9"))
    with pytest.raises(InputError, match=r"archive\.zip: no folder and no whole zip \('utf-8' codec can't decode"):
        Archive(path)


def test_no_archive_an_empty_one_and_what_is_none(tmp_path, folder, zipped):
    with pytest.raises(InputError, match=r"nowhere: no such folder or zip; name it, as downloaded, as tasks"):
        Archive(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no files"):
        Archive(tmp_path / "empty")
    with pytest.raises(InputError, match="holds no files"):
        Archive(zipped({}))
    with pytest.raises(InputError, match="not a zip file"):
        Archive(folder({"a.zip": b"<html>log in first</html>"}) / "a.zip")
    with pytest.raises(InputError, match=r"a\.zip: no folder and no whole zip"):
        Archive(tmp_path / "archive")  # the same within a folder


def test_a_cut_zip(zipped):
    path = zipped(FILES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="no whole zip"):
        Archive(path)


@pytest.mark.parametrize("name", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "..\\x.jpg", "C:\\x.jpg", "\\x.jpg"])
def test_a_member_that_leads_out(zipped, name):
    with pytest.raises(InputError, match="leads out of the archive"):
        Archive(zipped({"a.jpg": b"x", name: b"x"}))


def test_links(tmp_path, folder):
    path = folder(FILES)
    (path / "inside.jpg").symlink_to("top/a.jpg")
    assert Archive(path).read("inside.jpg") == b"one"
    (tmp_path / "link").symlink_to(path)
    assert "top/a.jpg" in Archive(tmp_path / "link").names()
    (tmp_path / "secret").mkdir()
    for target in ("../secret", "/etc/hostname", "../gone"):
        (path / "out").symlink_to(target)
        with pytest.raises(InputError, match=r"archive/out: the link leads out"):
            Archive(path)
        (path / "out").unlink()


@pytest.mark.parametrize("configured", [None, "../elsewhere"])
def test_links_into_dvcs_cache_stay(tmp_path, folder, monkeypatch, configured):
    repository = tmp_path / "repository"
    (repository / ".dvc").mkdir(parents=True)
    cache = tmp_path / "elsewhere" if configured else repository / ".dvc/cache"
    if configured:
        (repository / ".dvc/config.local").write_text(f"[cache]\n    dir = ../{configured}\n")
    (cache / "files/md5/f9").mkdir(parents=True)
    (cache / "files/md5/f9/7c").write_bytes(b"one")
    path = folder(FILES)
    (path / "top/a.jpg").unlink()
    (path / "top/a.jpg").symlink_to(cache / "files/md5/f9/7c")
    with pytest.raises(InputError, match="the link leads out"):
        Archive(path)
    monkeypatch.setenv("DVC_ROOT", str(repository))  # as DVC does, in a copy of the repository too
    assert Archive(path).read("top/a.jpg") == b"one"
    (path / "out.jpg").symlink_to(repository / ".dvc/config")
    with pytest.raises(InputError, match=r"out\.jpg: the link leads out"):
        Archive(path)


def test_an_encrypted_zip(zipped):
    path = zipped({"a.jpg": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"'a\.jpg' is encrypted; unpack"):
        Archive(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_whose_size_the_listing_does_not_bound_are_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.csv", b"x")
    with pytest.raises(InputError, match=r"'a\.csv' is not deflated; unpack the zip"):
        Archive(tmp_path / "a.zip")


def test_a_zip_in_a_zip_and_a_name_twice(zipped):
    with pytest.raises(InputError, match=r"holds the zip 'part\.zip'; unpack"):
        Archive(zipped({"part.zip": b""}))
    path = zipped({"a.jpg": b"x"})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.jpg", b"y")
    with pytest.raises(InputError, match=r"holds 'a\.jpg' twice"):
        Archive(path)


def test_a_damaged_member_and_one_that_is_too_large(zipped):
    path = zipped({"a.jpg": b"abcdefgh"})
    with pytest.raises(Unreadable, match="too large: more than 7 bytes"):
        Archive(path).read("a.jpg", limit=7)
    assert Archive(path).read("a.jpg", limit=8) == b"abcdefgh"
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgx"))
    with pytest.raises(Unreadable, match=r"a\.jpg: damaged: Bad CRC"):
        Archive(path).read("a.jpg")


def test_an_unknown_name(folder):
    with pytest.raises(InputError, match=r"has no file '\.\./archive/table\.csv'"):
        Archive(folder(FILES)).read("../archive/table.csv")


def test_rows_of_a_pixel_table_are_images(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2352))
    table = pd.DataFrame(pixels, columns=[f"pixel{i:04d}" for i in range(2352)]).assign(label=[4, 6, 0])
    for separator in (",", ";", "\t"):
        path = folder({"hmnist.csv": table.to_csv(index=False, sep=separator)})
        archive = Archive(path)
        for row in range(3):
            image = decode(archive.read(f"hmnist.csv#{row}"), name="", max_pixels=784, decoding=EIGHT_BIT)
            np.testing.assert_array_equal(np.asarray(image), pixels[row].reshape(28, 28, 3))
    for wrong in (256, -1, 0.5, "x", "nan"):
        text = table.astype(object)
        text.iloc[1, 7] = wrong
        folder({"hmnist.csv": text.to_csv(index=False)})
        with pytest.raises(Unreadable, match=r"hmnist\.csv#1: pixel values"):
            Archive(path).read("hmnist.csv#1")
        Archive(path).read("hmnist.csv#2")
    folder({"hmnist.csv": table.drop(columns="pixel0003").to_csv(index=False)})
    with pytest.raises(InputError, match="must have 2352 pixel columns"):
        Archive(path).read("hmnist.csv#1")
