"""The archive of a data set as downloaded: a folder or a zip, with the zips in the folder seen through."""

import functools
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from joblib import cpu_count

from medpipe.data import frames
from medpipe.data.formats import HEAD, ending_of, unread
from medpipe.errors import InputError, Unreadable
from medpipe.store import dvc_cache

# What file managers, Windows and Synology leave, in lower case. Excel locks `a.xlsx` by `~$a.xlsx`.
LITTER = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir")

# The most bytes that are read of a file, for a zip of megabytes may hold gigabytes. An image has a limit of its own.
LARGEST = 512 << 20
PIXELS = 256 << 20  # HAM10000's pixel table has 94 MB
_PIECE = 1 << 20
# What Python unpacks no further than the zip's listing says. Of bzip2, 510 bytes that claim 1,000 filled a gigabyte.
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


File = str | tuple[zipfile.ZipFile, zipfile.ZipInfo]  # a path, or a zip's member
Listed = tuple[str, str, str | None]  # name, path, None; or name, zip, its member's name


class Archive:
    """A folder or zip by the names of its files: `part.zip!/a.jpg` lies in a zip in the folder.

    A name has `/` between folders also where Windows wrote `\\`, and `\\xe9` for a byte that is not UTF-8. Raises
    InputError for no archive, an empty one, what is no zip, an encrypted zip or one of other methods than PACKED, a zip
    within a zip, and any name or link that leads out of it, other than into DVC's cache. Hidden files and LITTER are
    passed over.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        # Paths as text, for each process holds those of all files, and a Path takes more memory.
        self._files: dict[str, File] = {}
        self._fresh()
        if self.path.is_dir():
            self._add_folder(self.path.resolve())
        elif self.path.is_file():
            self._add_zip(self.path, "")
        else:
            raise InputError(f"{path}: no such folder or zip; name it, as downloaded, as tasks.<task>.archive")
        if not self._files:
            raise InputError(f"{path}: holds no files; download the archive again")

    def part(self, names: Iterable[str]) -> "Archive":
        """The archive with these names alone, for a process of its own: all of them take memory in every one."""
        kept = {file for name in names for file in (name, frames.parted(name)[0]) if file in self._files}
        return _holding(self.path, {file: self._files[file] for file in sorted(kept)})

    def __reduce__(self) -> tuple[Callable[..., "Archive"], tuple[Path, list[Listed]]]:
        files: list[Listed] = []
        for name, file in self._files.items():
            here = (file, None) if isinstance(file, str) else (str(file[0].filename), file[1].filename)
            files.append((name, *here))
        return _listed, (self.path, files)  # each process opens its own zips

    def _fresh(self) -> None:
        self._tables: dict[str, list[bytes]] = {}
        self._unread: dict[str, str] = {}
        self._whole = functools.lru_cache(maxsize=2)(self._joined)  # an image's and its mask's: of many slices each

    def _add_folder(self, root: Path) -> None:
        for folder, folders, files in os.walk(root, onerror=_unlisted):
            above = folder[len(str(root)) + 1 :]
            for entry in (*folders, *files):
                path = f"{folder}/{entry}"
                if os.path.islink(path) and not _stays(Path(path).resolve(), root):  # noqa: PTH114
                    raise InputError(f"{path}: the link leads out of the archive; put the files themselves there")
            for file in files:
                name = _readable(f"{above}/{file}" if above else file)
                if _hidden(name):
                    continue
                if file.lower().endswith(".zip"):
                    self._add_zip(Path(folder, file), f"{name}!/")
                else:
                    self._add(name, f"{folder}/{file}")

    def _add_zip(self, path: Path, prefix: str) -> None:
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise InputError(f"{path}: no folder and no whole zip ({error}); download it again or unpack it") from None
        for info in archive.infolist():
            name = _readable(info.filename)
            if leads_out(name):
                raise InputError(f"{path}: {info.filename!r} leads out of the archive; do not trust this file")
            if name.endswith("/") or _hidden(name):
                continue
            if info.flag_bits & 0x1:
                raise InputError(f"{path}: {info.filename!r} is encrypted; unpack the zip and name the folder")
            if info.compress_type not in PACKED:
                raise InputError(f"{path}: {info.filename!r} is not deflated; unpack the zip and name the folder")
            if name.lower().endswith(".zip"):
                raise InputError(f"{path}: holds the zip {info.filename!r}; unpack the outer zip and name the folder")
            self._add(prefix + name, (archive, info))

    def _add(self, name: str, file: File) -> None:
        if name in self._files:
            raise InputError(f"{self.path}: holds {name!r} twice; remove one")
        self._files[name] = file

    def names(self) -> list[str]:
        """All files, sorted; `/` between folders."""
        return sorted(self._files)

    def images(self) -> list[str]:
        """The files that are images by their names or by what they begin with, sorted."""
        return [name for name in self.names() if self.is_image(name)]

    def others(self) -> list[str]:
        """What the other files are: of each reason why one is no image, or none that is read, the endings' counts."""
        rest = [name for name in self.names() if not self.is_image(name)]
        kinds = Counter((self._unread[name], ending_of(name).lower()) for name in rest)
        reasons: dict[str, list[str]] = {}
        for (reason, ending), count in kinds.most_common():
            reasons.setdefault(reason, []).append(f"{count} {ending or 'without ending'}")
        return [f"files that are not read as images: {', '.join(some)} ({reason})" for reason, some in reasons.items()]

    def open(self, name: str) -> IO[bytes]:
        """The file, for reading bytes. Raises InputError where the archive lists no such name."""
        match self._file(name):
            case str(path):
                return Path(path).open("rb")
            case (archive, info):
                return archive.open(info)

    def read(self, name: str, *, limit: int = LARGEST) -> bytes:
        """All bytes of a file. `table.csv#17` is row 17 (from 0) of a pixel table, as a PPM image; of other files the
        number behind says which of its images is meant (`frames.parted`), and the bytes are those of the whole file.

        Raises Unreadable for a file of more than `limit` bytes (a zip's listing bounds what its member unpacks to),
        one that cannot be read, and a row that is no image; InputError for a name that is not there.
        """
        file, place = frames.parted(name)
        if place is None or name in self._files:
            return self._joined(name, limit)
        return self._whole(file, limit) if self.is_image(file) else _ppm(self.pixel_rows(file)[place], name)

    def same(self, first: str, second: str) -> bool:
        """Whether two files hold the same bytes. Raises as `read` does."""
        if self._size(first) != self._size(second):
            return False
        pieces = zip(self._pieces(first, LARGEST), self._pieces(second, LARGEST), strict=False)
        return all(one == other for one, other in pieces)

    def beginning(self, name: str) -> tuple[int, bytes]:
        """A file's size and its first HEAD bytes. Raises as `read` does."""
        try:
            with self.open(name) as file:
                return self._size(name), file.read(HEAD)
        except _DAMAGED as error:
            raise Unreadable(name, f"damaged: {error}") from None

    def is_image(self, name: str) -> bool:
        """Whether the file is one that `images` lists."""
        if name not in self._unread:
            reason = unread(name, b"")
            try:
                self._unread[name] = reason and unread(name, self.beginning(name)[1])
            except Unreadable as error:
                self._unread[name] = error.reason
        return not self._unread[name]

    def _joined(self, name: str, limit: int) -> bytes:
        return b"".join(self._pieces(name, limit))

    def _file(self, name: str) -> File:
        if name not in self._files:
            raise InputError(f"{self.path}: has no file {name!r}")
        return self._files[name]

    def _size(self, name: str) -> int:
        file = self._file(name)
        return Path(file).stat().st_size if isinstance(file, str) else file[1].file_size

    def _pieces(self, name: str, limit: int) -> Iterator[bytes]:
        try:
            if self._size(name) > limit:
                raise Unreadable(name, f"too large: more than {limit} bytes")
            with self.open(name) as file:
                while piece := file.read(_PIECE):
                    yield piece
        except _DAMAGED as error:
            raise Unreadable(name, f"damaged: {error}") from None

    def pixel_rows(self, table: str) -> list[bytes]:
        """The lines of a pixel table without its header: 2,352 values (28 x 28 x 3, row-major), then the label.

        Kept in memory (94 MB for HAM10000). Raises InputError where the header is another.
        """
        if table not in self._tables:
            data = self.read(table, limit=PIXELS)
            header, *lines = data.replace(separator_of(data), b",").splitlines() or [b""]
            if header.count(b",") != 28 * 28 * 3 or not header.endswith(b"label"):
                raise InputError(f"{table}: must have 2352 pixel columns and then label; download it again")
            self._tables[table] = [line for line in lines if line]
        return self._tables[table]


def _holding(path: Path, files: dict[str, File]) -> Archive:
    archive = Archive.__new__(Archive)
    archive.path, archive._files = path, files
    archive._fresh()
    return archive


def _listed(path: Path, files: list[Listed]) -> Archive:
    """An archive of files that another process has listed."""
    return _holding(path, {name: place if member is None else _member(place, member) for name, place, member in files})


def _member(place: str, name: str) -> tuple[zipfile.ZipFile, zipfile.ZipInfo]:
    zipped = _zip(place, Path(place).stat().st_mtime_ns)
    return zipped, zipped.getinfo(name)


@functools.lru_cache(maxsize=8)  # a process reads one part of an archive after the other
def _zip(place: str, _changed: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(place)


def chunk_size(files: int) -> int:
    """How many of so many files a process is given at once: some chunks each, and never so many that its memory grows
    with the archive."""
    return min(1024, max(128, -(-files // (4 * cpu_count()))))


def _unlisted(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); grant access to it or take it out")


def leads_out(path: str) -> bool:
    """Whether a path, of Unix or Windows, is absolute or climbs with `..`."""
    parts = re.split(r"[/\\]", path)
    return ".." in parts or (len(parts) > 1 and not parts[0]) or parts[0].endswith(":")


def _stays(target: Path, root: Path) -> bool:
    """Whether a link's target lies in the archive, or in DVC's cache, which is what `cache.type` may link to."""
    return target.is_relative_to(root) or target.is_relative_to(dvc_cache())


def _readable(name: str) -> str:
    name = re.sub("/+", "/", name.replace("\\", "/"))
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _hidden(name: str) -> bool:
    parts = [part for part in name.split("/") if part != "."]
    return any(part.startswith((".", "~$")) or part.lower() in LITTER for part in parts)


def separator_of(data: bytes) -> bytes:
    """What stands between the columns of a table's first line: a tab, a semicolon or a comma."""
    header = re.match(rb"[^\r\n]*", data)[0]  # type: ignore[index]  # it matches always
    return max(b"\t", b";", b",", key=header.count)


def _ppm(line: bytes, name: str) -> bytes:
    try:
        values = np.array(line.split(b",")[:-1], dtype=np.float64)
    except ValueError:
        raise Unreadable(name, "pixel values: not all are numbers") from None
    if values.size != 28 * 28 * 3 or not ((values >= 0) & (values <= 255) & (values % 1 == 0)).all():
        raise Unreadable(name, "pixel values: 2352 whole numbers from 0 to 255 wanted")
    return b"P6 28 28 255\n" + values.astype(np.uint8).tobytes()


def stem(name: str) -> str:
    """The file's name without folders and ending; of one of a file's images with its place behind: `volume-17`."""
    file, place = frames.parted(name)
    base = PurePosixPath(file).name.removesuffix(ending_of(file)).removesuffix(".nii")
    return base if place is None else f"{base}-{place}"
