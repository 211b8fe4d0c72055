"""The files of an image's mask: one, or several that are united. A `mask_path` has `//` between their names."""

import hashlib
from collections.abc import Iterable, Sequence

from medpipe.data import images
from medpipe.data.archive import Archive
from medpipe.data.masks import Mask, united
from medpipe.params import Decoding

_BETWEEN = "//"  # in no name of an archive's

Files = Sequence[tuple[str, bytes]]


def joined(names: Iterable[str]) -> str:
    return _BETWEEN.join(names)


def all_of(paths: Iterable[str]) -> list[str]:
    """The names of all files of some masks."""
    return [name for path in paths for name in path.split(_BETWEEN) if name]


def read(archive: Archive, path: str, max_pixels: int, decoding: Decoding) -> Files:
    """The files by name; none for ''. Raises as `Archive.read`."""
    return [(name, archive.read(name, limit=images.most_bytes(name, max_pixels, decoding))) for name in all_of([path])]


def digest(files: Files) -> str:
    """SHA-256 as of an image; of several files that of theirs."""
    hashes = [images.digest(data, name) for name, data in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def decode(files: Files, max_pixels: int, decoding: Decoding) -> Mask:
    """What all of them mark. Raises Unreadable as `images.decode_mask`, and where they do not fit each other."""
    found, *others = [
        (images.decode_mask(data, name=name, max_pixels=max_pixels, decoding=decoding), name) for name, data in files
    ]
    mask = found[0]
    for other, name in others:
        mask = united(mask, other, name)
    return mask
