import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from medpipe import atomic


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new/table.csv"
    with atomic.file(path) as temporary:
        temporary.write_text("old")
    with suppress(KeyError), atomic.file(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "model"
    with atomic.folder(path) as temporary:
        (temporary / "old").touch()
    with suppress(KeyError), atomic.folder(path) as temporary:
        (temporary / "half").touch()
        raise KeyError
    assert [file.name for file in path.iterdir()] == ["old"]
    with atomic.folder(path) as temporary:
        (temporary / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_disk_has_the_bytes_before_the_name_and_the_name_before_it_returns(tmp_path, monkeypatch, kind):
    steps = []

    def recorded(step, call):
        def record(*arguments):
            name = Path(arguments[0] if step == "rename" else Path(f"/proc/self/fd/{arguments[0]}").readlink()).name
            steps.append((step, name))
            return call(*arguments)

        return record

    monkeypatch.setattr(os, "fsync", recorded("sync", os.fsync))
    for rename in ("rename", "replace"):
        monkeypatch.setattr(os, rename, recorded("rename", getattr(os, rename)))
    with getattr(atomic, kind)(tmp_path / "target") as temporary:
        if kind == "folder":
            (temporary / "inner").mkdir()
        (temporary if kind == "file" else temporary / "inner/model").write_text("bytes")
    assert steps[-2:] == [("rename", ".target.tmp"), ("sync", tmp_path.name)]
    synced = {"file": {".target.tmp"}, "folder": {".target.tmp", "inner", "model"}}[kind]
    assert set(steps[:-2]) == {("sync", name) for name in synced}


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_links_into_a_cache_are_replaced_and_never_written_through(tmp_path, link):
    cached = tmp_path / "cached"
    cached.write_text("cached")
    cached.chmod(0o444)  # as DVC leaves it
    path, model = tmp_path / "table.csv", tmp_path / "models/skin"
    model.mkdir(parents=True)
    for place in (path, tmp_path / ".table.tmp.csv", model / "model.keras", model / "gone"):
        link(place, cached)
    with atomic.file(path) as temporary:
        temporary.write_text("new")
    with atomic.folder(model) as temporary:
        (temporary / "model.keras").write_text("new")
    assert cached.read_text() == "cached"
    assert (cached.stat().st_nlink, cached.stat().st_mode & 0o777) == (1, 0o444)
    assert path.read_text() == (model / "model.keras").read_text() == "new"
    assert not path.is_symlink()
    assert [file.name for file in model.iterdir()] == ["model.keras"]


def test_a_link_to_a_folder_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    path = tmp_path / "skin"
    path.symlink_to(tmp_path / "elsewhere")
    with atomic.folder(path) as temporary:
        (temporary / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert (tmp_path / "elsewhere/kept").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_gone_with_the_next(tmp_path, kind):
    write = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from medpipe import atomic\n"
        f"with atomic.{kind}(Path('target')) as temporary:\n"
        f"    {'temporary' if kind == 'file' else '(temporary / sys.argv[1])'}.write_text(sys.argv[1])\n"
        "    if sys.argv[1] == 'half': os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed, whole = (subprocess.run([sys.executable, "-c", write, how], cwd=tmp_path) for how in ("half", "whole"))
    assert (killed.returncode, whole.returncode) == (-signal.SIGKILL, 0)
    [target] = tmp_path.iterdir()
    assert target.name == "target"
    assert kind == "file" or [file.name for file in target.iterdir()] == ["whole"]
