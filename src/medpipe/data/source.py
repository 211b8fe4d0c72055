"""The archive of a data set as downloaded: a folder or a zip, with the zips in the folder seen through."""

import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
import pandas as pd

from medpipe.data.images import Unreadable
from medpipe.errors import InputError

IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")


class Problem(NamedTuple):
    """What goes to quarantine: `reason` is `kind` or `kind: detail`; `path` is '' where there is no file."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class Rows:
    """What an archive lists: a row an image (id, path, label, group, source, mask_path, metadata), and the rest."""

    table: pd.DataFrame
    problems: list[Problem]


class Archive:
    """A folder or zip by the names of its files: `part.zip!/a.jpg` lies in a zip in the folder.

    Raises InputError for no archive, an empty one, what is no zip, an encrypted zip, a zip within a zip, and any name
    or link that leads out of it. Hidden files and macOS' `__MACOSX` are passed over.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._files: dict[str, Path | tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
        self._tables: dict[str, list[bytes]] = {}
        if self.path.is_dir():
            self._add_folder(self.path.resolve())
        elif self.path.is_file():
            self._add_zip(self.path, "")
        else:
            raise InputError(f"{path}: no such folder or zip; name the archive, as downloaded, under archives")
        if not self._files:
            raise InputError(f"{path}: holds no files; download the archive again")

    def __reduce__(self) -> tuple[type["Archive"], tuple[Path]]:
        return Archive, (self.path,)  # each process opens its own zips

    def _add_folder(self, root: Path) -> None:
        for folder, folders, files in os.walk(root):
            above = Path(folder).relative_to(root).as_posix()
            for entry in (*folders, *files):
                path = f"{folder}/{entry}"
                if os.path.islink(path) and not Path(path).resolve().is_relative_to(root):  # noqa: PTH114
                    raise InputError(f"{path}: the link leads out of the archive; put the files themselves there")
            for file in files:
                name = file if above == "." else f"{above}/{file}"
                if _hidden(name):
                    continue
                if file.lower().endswith(".zip"):
                    self._add_zip(root / name, f"{name}!/")
                else:
                    self._files[name] = root / name

    def _add_zip(self, path: Path, prefix: str) -> None:
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise InputError(f"{path}: no folder and no whole zip ({error}); download it again or unpack it") from None
        for info in archive.infolist():
            if leads_out(info.filename):
                raise InputError(f"{path}: {info.filename!r} leads out of the archive; do not trust this file")
            if info.is_dir() or _hidden(info.filename):
                continue
            if info.flag_bits & 0x1:
                raise InputError(f"{path}: {info.filename!r} is encrypted; unpack the zip and name the folder")
            if info.filename.lower().endswith(".zip"):
                raise InputError(f"{path}: holds the zip {info.filename!r}; unpack the outer zip and name the folder")
            if prefix + info.filename in self._files:
                raise InputError(f"{path}: holds {info.filename!r} twice; pack it again")
            self._files[prefix + info.filename] = (archive, info)

    def names(self) -> list[str]:
        """All files, sorted; `/` between folders."""
        return sorted(self._files)

    def images(self) -> list[str]:
        """The files that are named as images, sorted."""
        return [name for name in self.names() if name.lower().endswith(IMAGES)]

    def open(self, name: str) -> IO[bytes]:
        """The file, for reading bytes. Raises InputError where the archive lists no such name."""
        match self._files.get(name):
            case None:
                raise InputError(f"{self.path}: has no file {name!r}")
            case Path() as path:
                return path.open("rb")
            case (archive, info):
                return archive.open(info)

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """All bytes of a file. `table.csv#17` is row 17 (from 0) of a pixel table, as a PPM image.

        Raises Unreadable for a file of more than `limit` bytes (a zip's listing bounds what its member unpacks to),
        one that cannot be read, and a row that is no image; InputError for a name that is not there.
        """
        table, mark, row = name.rpartition("#")
        if mark and name not in self._files:
            return _ppm(self.pixel_rows(table)[int(row)], name)
        try:
            with self.open(name) as file:
                data = file.read() if limit is None else file.read(limit + 1)
        except (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise Unreadable(name, f"damaged: {error}") from None
        if limit is not None and len(data) > limit:
            raise Unreadable(name, f"too large: more than {limit} bytes")
        return data

    def pixel_rows(self, table: str) -> list[bytes]:
        """The lines of a pixel table without its header: 2,352 values (28 x 28 x 3, row-major), then the label.

        Kept in memory (94 MB for HAM10000). Raises InputError where the header is another.
        """
        if table not in self._tables:
            header, *lines = self.read(table).splitlines() or [b""]
            if header.count(b",") != 28 * 28 * 3 or not header.endswith(b"label"):
                raise InputError(f"{table}: must have 2352 pixel columns and then label; download it again")
            self._tables[table] = [line for line in lines if line]
        return self._tables[table]


def leads_out(path: str) -> bool:
    """Whether a path, of Unix or Windows, is absolute or climbs with `..`."""
    parts = re.split(r"[/\\]", path)
    return ".." in parts or (len(parts) > 1 and not parts[0]) or parts[0].endswith(":")


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) and part != "." for part in name.split("/"))


def _ppm(line: bytes, name: str) -> bytes:
    try:
        values = np.array(line.split(b",")[:-1], dtype=np.float64)
    except ValueError:
        raise Unreadable(name, "pixel values: not all are numbers") from None
    if values.size != 28 * 28 * 3 or not ((values >= 0) & (values <= 255) & (values % 1 == 0)).all():
        raise Unreadable(name, "pixel values: 2352 whole numbers from 0 to 255 wanted")
    return b"P6 28 28 255\n" + values.astype(np.uint8).tobytes()


def distinct(archive: Archive, names: Iterable[str], key: Callable[[str], str]) -> tuple[dict[str, str], list[Problem]]:
    """One file a key. Copies with the same bytes are passed over (some archives ship a folder twice); files that
    share a key and differ are all problems."""
    copies: dict[str, list[str]] = {}
    for name in names:
        copies.setdefault(key(name), []).append(name)
    found, problems = {}, []
    for file, (first, *others) in copies.items():
        if all(archive.read(first) == archive.read(other) for other in others):
            found[file] = first
        else:
            problems += [Problem(file, name, "duplicate id: files that differ") for name in (first, *others)]
    return found, problems


def stem(name: str) -> str:
    """The file's name without folders and ending."""
    return PurePosixPath(name).stem


def read_table(archive: Archive, name: str, columns: Iterable[str]) -> pd.DataFrame:
    """A CSV or tab-separated file, all values as stripped strings. Raises InputError where it is none or lacks one
    of `columns`."""
    data = archive.read(name)
    separator = "\t" if b"\t" in data.split(b"\n", 1)[0] else ","
    try:
        table = pd.read_csv(
            BytesIO(data), sep=separator, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: no readable table ({str(error).strip()}); download it again") from None
    table.columns = table.columns.str.strip()
    if missing := [column for column in columns if column not in table]:
        raise InputError(f"{name}: lacks the column {', '.join(missing)}; it has {', '.join(table.columns)}")
    return table.apply(lambda column: column.str.strip())


def single_rows(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """One row an `id`: a repeated row is a problem, and so are all rows of an id where they differ."""
    repeated = table.duplicated()
    differ = table["id"].isin(table.loc[~repeated, "id"][table.loc[~repeated, "id"].duplicated()])
    problems = [Problem(str(i), "", "duplicate id: rows that differ") for i in table.loc[differ, "id"]]
    problems += [Problem(str(i), "", "duplicate id: the row again") for i in table.loc[repeated & ~differ, "id"]]
    return table[~repeated & ~differ], problems


def attach(table: pd.DataFrame, files: dict[str, str], known: Iterable[Problem]) -> tuple[pd.DataFrame, list[Problem]]:
    """`table` with each row's file as `path`; rows and files without each other are problems, unless `known`."""
    done = {problem.id for problem in known}
    lost = ~table["id"].isin(files)
    problems = [Problem(str(i), "", "row without image") for i in table.loc[lost, "id"] if i not in done]
    rows = set(table["id"])
    problems += [Problem(i, p, "image without row") for i, p in files.items() if i not in rows and i not in done]
    table = table[~lost]
    return table.assign(path=table["id"].map(files)), problems
