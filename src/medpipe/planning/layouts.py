"""Which files of an archive seem to be masks of which others, as patterns for the reader `pairs`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from medpipe.data.tables import without_ending
from medpipe.planning.levels import are_classes, are_sets, parted

_WORD = (
    r"(?<!un)mask|(?<!un)label|segment|ground.?truth|(?<![a-z])(?:gt|seg|annotations?)(?![a-z])|(?<![a-z])manual|"
    r"(?<![a-z0-9])(?:1st|2nd)"
)
_FOLDER = re.compile(_WORD, re.IGNORECASE)
_BEHIND = re.compile(rf"[_. -][^_. -]*?(?:{_WORD})\w*$", re.IGNORECASE)
_BETTER = re.compile(r"manual|1st|segment|truth", re.IGNORECASE)  # where `mask` is the field of view
_NEXT = r"(?:[_ -]\d+)?"  # of second masks
_NUMBER = re.compile(r"[_ -]\d+$")
_MARKS = re.compile(r"[_. -]")  # between the parts of a name
SOME = 0.05  # of the masks: with an end of the name that counts
LEAST = 0.1  # of the images: masks that have one
ALIKE = 0.9  # of the masks of one kind, which other kinds have too


class _File(NamedTuple):
    """A path in parts: the folders above the one that says image or mask, that one, those below, and the name."""

    path: str
    above: tuple[str, ...]
    own: str | None
    below: tuple[str, ...]
    stem: str


@dataclass
class Pairing:
    """`images`, `masks`: patterns. `classes`: what their group `label` matches, of each image; empty where there is
    none. `files`: the masks."""

    images: str
    masks: str
    files: list[str]
    classes: list[str]
    questions: list[str] = field(default_factory=list)


class _Match(NamedTuple):
    """Images and their masks, in pairs; `ends`: of the masks' names, and whether a number may follow; `behind`: ends of
    the images' names; `besides`: ends of other masks of theirs; `kinds`: of the several images of a mask."""

    images: list[_File]
    masks: list[_File]
    ends: dict[str, bool]
    behind: list[str]
    besides: list[str]
    kinds: list[str]


def propose(paths: Iterable[str]) -> Pairing | None:
    """The pairing of most masks; None where fewer than half of the files that are called so have an image."""
    files = [_split(path) for path in paths]
    tried: list[tuple[str, int, _Match]] = []
    for name in sorted({_template(part) for file in files for part in file.above if _FOLDER.search(part)}):
        found = [_at(file, name) for file in files]
        masks = [mask for mask in found if mask is not None]
        others = [file for file, mask in zip(files, found, strict=True) if mask is None]
        for own, images in _beside(others, masks).items():
            nice = 2 * (own is None or not _FOLDER.search(own)) + bool(_BETTER.search(name))
            tried.append((name, nice, _matched(images, masks)))
            if 2 * len(tried[-1][2].masks) < len(masks):
                tried.pop()
    masks = [file for file in files if _BEHIND.search(file.stem)]
    match = _matched([file for file in files if not _BEHIND.search(file.stem)], masks)
    tried += [("", 0, match)] if 2 * len(match.masks) >= len(masks) else []
    tried = [one for one in tried if len(one[2].masks) > LEAST * len(files)]
    if not tried:
        return None
    most = max(len(match.masks) for _, _, match in tried)
    likely = [one for one in tried if len(one[2].masks) >= ALIKE * most]
    name, _, match = min(likely, key=lambda one: (-one[1], one[0]))
    pairing = _patterns(match)
    if rest := sorted({other for other, _, _ in likely if other not in ("", name)}) if name else []:
        said = f"the masks in {_said(name)} were taken; there are some in {', '.join(map(_said, rest))} too"
        pairing.questions.append(f"reader.masks: {said}")
    return pairing


def _split(path: str) -> _File:
    *folders, stem = without_ending(path).split("/")
    return _File(path, tuple(folders), None, (), stem)


def _template(folder: str) -> str:
    """The folder's name with `*` for the set."""
    before, word, behind = parted(folder)
    return f"{before}*{behind}" if word else folder


def _at(file: _File, name: str) -> _File | None:
    """The file parted at the folder of this name, of any set; None where it lies in none."""
    place = next((place for place, part in enumerate(file.above) if _template(part) == name), None)
    if place is None:
        return None
    return file._replace(above=file.above[:place], own=file.above[place], below=file.above[place + 1 :])


def _beside(files: Sequence[_File], masks: Sequence[_File]) -> dict[str | None, list[_File]]:
    """The files in folders beside those of masks, by the folder's name, and, by None, those that lie beside these."""
    above = {mask.above for mask in masks}
    found: dict[str | None, list[_File]] = {}
    for file in files:
        for depth in range(len(file.above)):
            if file.above[:depth] in above:
                own = file.above[depth]
                parts = file._replace(above=file.above[:depth], own=own, below=file.above[depth + 1 :])
                found.setdefault(_template(own), []).append(parts)
        if file.above in above:
            found.setdefault(None, []).append(file)
    return found


def _matched(images: Sequence[_File], masks: Sequence[_File]) -> _Match:
    """Masks with the images whose names begin as theirs, where what follows is the same of many."""
    by_set = all(any(file.own and parted(file.own)[1] for file in files) for files in (images, masks))

    def keys(file: _File) -> list[tuple[object, ...]]:
        """What the name may begin with, the longest first, and where."""
        where = (file.above, parted(file.own)[1] if by_set and file.own else "", file.below)
        marks = reversed([mark.start() for mark in _MARKS.finditer(file.stem) if mark.start()])
        return [(*where, file.stem), *((*where, file.stem[:mark]) for mark in marks)]

    of: dict[tuple[object, ...], list[_File]] = {}
    for image in images:
        for key in keys(image):
            of.setdefault(key, []).append(image)
    found = [(mask, next((key for key in keys(mask) if key in of), None)) for mask in masks]
    held = [(mask, key, mask.stem[len(str(key[-1])) :]) for mask, key in found if key is not None]
    there = {end for _, _, end in held}
    base = {end: short if (short := _NUMBER.sub("", end)) in there and short else end for end in there}
    counts = Counter(base[end] for _, _, end in held)
    ends, taken, besides = {}, set[tuple[object, ...]](), []
    for end, count in sorted(counts.items(), key=lambda item: (-item[1], len(item[0]))):
        own = {key for _, key, other in held if base[other] == end}
        if count < SOME * len(held):
            continue
        if len(own & taken) > len(own) / 2:  # another mask of the same images
            besides.append(end)
            continue
        ends[end], taken = any(base[other] == end for other in there - {end}), taken | own
    behind: dict[str, set[tuple[object, ...]]] = {}
    for key in taken:
        for image in of[key]:
            behind.setdefault(image.stem[len(str(key[-1])) :], set()).add(key)
    if len(behind.get("", ())) > len(taken) / 2:
        behind = {"": behind[""]}
    often = sorted((e for e in behind if len(behind[e]) >= SOME * len(taken)), key=lambda e: (-len(behind[e]), e))
    chosen: list[str] = []
    for end in often:
        if not any(behind[end] & behind[other] for other in chosen):
            chosen.append(end)
    image_of = {key: i for key in taken for i in of[key] if i.stem[len(str(key[-1])) :] in chosen}
    both = [(image_of[key], mask) for mask, key, end in held if key in image_of and base[end] in ends]
    kinds = often if len(often) > len(chosen) else []
    return _Match([image for image, _ in both], [mask for _, mask in both], ends, chosen, besides, kinds)


def _patterns(match: _Match) -> Pairing:
    named: dict[str, list[str]] = {}
    above = _levels([image.above for image in match.images], named)
    images, masks = (_own([file.own for file in files], named) for files in (match.images, match.masks))
    below = _levels([image.below for image in match.images], named)
    ends = [f"{_plain(end)}{_NEXT if more else ''}" for end, more in match.ends.items()]
    besides = "".join(f"(?<!{_plain(end)})" for end in match.besides if match.masks[0].own is None)
    pairing = Pairing(
        f"{above}{images}{below}([^/]+{'?' * ('' in match.behind[1:])}){besides}{_any(map(_plain, match.behind))}",
        f"{above}{masks}{below}([^/]+{'?' * ('' in match.ends and len(ends) > 1)}){_any(ends)}",
        [mask.path for mask in match.masks],
        named.get("label", []),
    )
    for what, others in (("masks", match.besides), ("images", match.kinds[1:])):
        if others:
            first = next(iter(match.ends)) if what == "masks" else match.kinds[0]
            pairing.questions.append(
                f"reader.{what}: of each image, files whose names end in {first!r} are read; others end in "
                f"{', '.join(map(repr, others))}, and the pattern's end says which"
            )
    if (more := len(match.masks) - len({image.path for image in match.images})) > 0:
        pairing.questions.append(f"reader.masks: some images have several masks, {more} more in all, which are united")
    return pairing


def _levels(folders: Sequence[tuple[str, ...]], named: dict[str, list[str]]) -> str:
    """The pattern of these folders of each image; groups that tell set and label are added to `named`."""
    if len({*map(len, folders)}) > 1:
        return "((?:.+/)?)"
    found = ""
    for level in zip(*folders, strict=True):
        if len({*level}) == 1:
            found += f"{_plain(level[0])}/"
        elif "set" not in named and are_sets({*level}):
            named["set"] = [*level]
            found += f"(?P<set>{'|'.join(sorted({*level}))})/"
        elif "label" not in named and are_classes(pd.Series(level)):
            named["label"] = [*level]
            found += "(?P<label>[^/]+)/"
        else:
            found += "([^/]+)/"
    return found


def _own(names: Sequence[str | None], named: dict[str, list[str]]) -> str:
    """The pattern of the folders that say image, or mask."""
    parts = [parted(name) for name in names if name is not None]
    if not parts:
        return ""
    if len({*parts}) == 1:
        return f"{_plain(''.join(parts[0]))}/"
    words = "|".join(sorted({word for _, word, _ in parts}))
    new = named.setdefault("set", [word for _, word, _ in parts]) == [word for _, word, _ in parts]
    return f"{_plain(parts[0][0])}({'?P<set>' if new else '?:'}{words}){_plain(parts[0][2])}/"


def _plain(text: str) -> str:
    return re.sub(r"([][.^$*+?{}|()\\])", r"\\\1", text)


def _any(patterns: Iterable[str]) -> str:
    some = [*patterns]
    return some[0] if len(some) == 1 else f"(?:{'|'.join(sorted(some, key=len, reverse=True))})"


def _said(template: str) -> str:
    return repr(template.replace("*", "<set>"))
