"""What masks seem to mark: their values, and the names that an archive's tables of colours or labels give these."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from medpipe.data.archive import Archive, stem
from medpipe.data.images import decode_mask, names
from medpipe.data.masks import number, shown
from medpipe.errors import InputError, Unreadable
from medpipe.params import BACKGROUND, Decoding
from medpipe.planning.columns import class_name
from medpipe.planning.groups import SAMPLE

MOST = 20  # values that mark a class each; where there are more, they are greys
_SMALL = 1 << 16  # bytes of a table of colours
_NAMES = ("class_names", "classes", "class", "labels", "label_names", "names")
_NOTHING = re.compile(r"(black )?background|bg|unlabell?ed|unannotated|void|ignore|border|none|other|outside( roi)?")
_AS_IS = Decoding(window=None, frames="split", axis=2, context=0, max_voxels=10**9)


def proposed(archive: Archive, paths: Sequence[str]) -> tuple[dict[str, list[int | str]], list[str]]:
    """`mask_values` of these masks, and what to ask of them. Raises InputError, with the reason, where none of some
    masks can be read, and for many colours without names."""
    held, refused, tried = set[int](), list[str](), paths[:: max(1, len(paths) // SAMPLE)]
    for path in tried:
        try:
            data = archive.read(path)
            for name in names(data, name=path, max_pixels=10**8, decoding=_AS_IS):
                held |= {*decode_mask(data, name=name, max_pixels=10**8, decoding=_AS_IS).held}
        except Unreadable as error:
            refused.append(str(error))
    if len(refused) == len(tried):
        raise InputError(f"{archive.path}: no mask can be read of {len(tried)} that were tried; {refused[0]}")
    questions = [f"mask_values: {len(refused)} of {len(tried)} masks are refused; {refused[0]}"] if refused else []
    values = sorted(held - {0})
    table, source = _names(archive, values)
    if table:
        found: dict[str, list[int | str]] = {}
        for value, name in table.items():
            if value in values or name != BACKGROUND:
                found.setdefault(name, []).append(_declared(value))
        if others := [value for value in values if value not in table]:
            found |= _numbered(others)
        said = f"{source} names what masks mark" + (f", but not {', '.join(map(shown, others))}" if others else "")
        return found, [*questions, f"mask_values: {said}; what marks nothing is called {BACKGROUND}"]
    if len(values) <= 1:
        return {"marked": [_declared(value) for value in values] or [255]}, questions
    if len(values) <= MOST:
        said = (
            "masks hold several values, a class each; call them what they are, give those that mean the same to one "
            f"name, and those that mark nothing to {BACKGROUND}"
        )
        return _numbered(values), [*questions, f"mask_values: {said}"]
    if values[0] < 0:
        some = ", ".join(map(shown, values[:5]))
        raise InputError(
            f"{archive.path}: masks hold {len(values)} colours, such as {some}, which no table of the archive names; "
            "save each class in one colour, as PNG, or put a table of name, red, green and blue into the archive"
        )
    if values[-1] > 255:
        return {"marked": [*values]}, [*questions, f"mask_values: masks hold {len(values)} values, which all mark"]
    said = f"masks hold {len(values)} greys, as smoothed ones do; 128 and more mark"
    return {"marked": [*range(128, 256)], BACKGROUND: [*range(1, 128)]}, [*questions, f"mask_values: {said}"]


def _declared(value: int) -> int | str:
    return value if value >= 0 else shown(value)


def _numbered(values: Sequence[int]) -> dict[str, list[int | str]]:
    return {f"value_{shown(value).strip('#')}": [_declared(value)] for value in values}


def _names(archive: Archive, values: Sequence[int]) -> tuple[dict[int, str], str]:
    """The name of each value but 0 by the first of the archive's tables that knows most of `values`, and that table."""
    for file in archive.names():
        if not file.lower().endswith((".txt", ".csv", ".tsv", ".json")):
            continue
        with suppress(InputError, ValueError):
            text = archive.read(file, limit=_SMALL).decode("utf-8-sig")
            for table in _tables(text, file):
                known = {value: _called(name) for value, name in table.items() if value}
                if values and 2 * len(known.keys() & {*values}) >= len(values):
                    return known, file
    if (colours := _voc()).keys() >= {*values} and any(value < 0 for value in values):
        return {v: BACKGROUND if colours[v] == 255 else f"class_{colours[v]}" for v in values}, "the palette of VOC"
    return {}, ""


def _called(name: str) -> str:
    plain = class_name(name.strip("_ "))
    return BACKGROUND if _NOTHING.fullmatch(plain.casefold().replace("_", " ")) else plain


def _tables(text: str, file: str) -> Iterator[dict[int, str]]:
    """Names by number of an nnU-Net or Decathlon data set, of lines of a colour and a name, and of names in the order
    of VOC's palette or of numbers."""
    if file.lower().endswith(".json"):
        labels: Any = json.loads(text)
        labels = labels.get("labels") if isinstance(labels, dict) else None
        pairs = [(v, k) if str(k).isdigit() else (k, v) for k, v in labels.items()] if isinstance(labels, dict) else []
        if pairs and all(str(value).isdigit() for _, value in pairs):
            yield {int(value): str(name) for name, value in pairs}
        return
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    coloured = [found for line in lines if (found := _coloured(line))]
    if len(coloured) > 1 and len(coloured) >= len(lines) - 1:  # without a header
        yield dict(coloured)
    if stem(file).casefold() in _NAMES and lines:
        lines = lines[1:] if "ignore" in lines[0].casefold() else lines
        if lines and _called(lines[0]) == BACKGROUND:
            yield dict(enumerate(lines))
            lines += [BACKGROUND] * (256 - len(lines))  # the border of 255 among them
            yield {number: lines[place] for number, place in _voc().items()}


def _coloured(line: str) -> tuple[int, str] | None:
    """Of a line of a name and red, green and blue, or `#ff0000`, in any order: the number, and the name."""
    if match := re.search(r"#[0-9a-fA-F]{6}\b", line):
        channels, rest = [int(match[0][place : place + 2], 16) for place in (1, 3, 5)], line.replace(match[0], "")
    else:
        channels = [int(found) for found in re.findall(r"(?<![\w.])\d{1,3}(?![\w.])", line)]
        rest = re.sub(r"(?<![\w.])\d{1,3}(?![\w.])", "", line)
    name = rest.strip(" ,;:\t\"'[]()")
    if len(channels) != 3 or max(channels) > 255 or not re.search(r"[^\W\d]", name):
        return None
    return (channels[0] if len({*channels}) == 1 else number("#{:02x}{:02x}{:02x}".format(*channels))), name


def _voc() -> dict[int, int]:
    """The place of each colour in the palette of PASCAL VOC: bit i of the place is bit 7 - i // 3 of channel i % 3."""
    palette = {}
    for place in range(256):
        channels = [sum(((place >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
        code = channels[0] if len({*channels}) == 1 else number("#{:02x}{:02x}{:02x}".format(*channels))
        palette[code] = place
    return palette
