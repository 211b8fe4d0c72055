"""Names of the images in a file of several: `cine.dcm#3`, `volume.nii.gz#17`, counted from 0."""

import re

from medpipe.errors import Unreadable


def parted(name: str) -> tuple[str, int | None]:
    """The file's name, and which of its images is meant; None where the name does not say."""
    match = re.fullmatch(r"(.+)#(\d{1,9})", name, re.DOTALL)
    return (name, None) if match is None else (match[1], int(match[2]))


def named(name: str, count: int) -> list[str]:
    """The names of the `count` images in a file: of one alone the file's own."""
    return [name] if count == 1 else [f"{name}#{place}" for place in range(count)]


def place(name: str, count: int) -> int:
    """Which of its `count` images a name means. Raises Unreadable where it means none."""
    _, number = parted(name)
    if count == 1:
        return 0
    if number is None or number >= count:
        raise Unreadable(name, f"several images: say which, from #0 to #{count - 1} behind the file's name")
    return number


def check(name: str, count: int, frames: str) -> None:
    """Raises Unreadable for several images where the setting `frames` refuses them."""
    if count > 1 and frames == "refuse":
        raise Unreadable(name, f"several images: {count}, one a file wanted; or set decoding.frames: split")
