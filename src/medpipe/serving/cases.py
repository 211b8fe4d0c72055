"""Raw cases as a served model is sent them: images in any form that may come, and metadata, to what the model reads."""

import base64
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from pydantic import TypeAdapter

from medpipe.data import features, frames
from medpipe.data.features import UNKNOWN
from medpipe.data.images import decode, most_bytes
from medpipe.data.missing import is_missing
from medpipe.errors import InputError
from medpipe.params import Category, Decoding, Feature

WANTED = "give the file's bytes, or data:image/jpeg;base64,... as text"


def read_image(value: Any, name: str, max_pixels: int, decoding: Decoding, root: Path | None) -> Image.Image:
    """The image in the file of `read_file`. Raises InputError as that, and where it is none."""
    data, name = read_file(value, name, max_pixels, decoding, root)
    return decode(data, name=name, max_pixels=max_pixels, decoding=decoding)


def read_file(value: Any, name: str, max_pixels: int, decoding: Decoding, root: Path | None) -> tuple[bytes, str]:
    """The bytes and the name of a file that comes as its bytes, as a data URI, or where `root` is given as a path to a
    file under that folder.

    `cine.dcm#3` is the path of one of several images in a file, whose name ends so too. `name` is for messages. Raises
    InputError that says what is wrong with the value.
    """
    if isinstance(value, str) and not value.strip():  # an empty cell
        value = None
    if isinstance(value, str) and value[:5].lower() == "data:":
        value = _from_uri(value, name)
    elif isinstance(value, str | Path):
        file, place = frames.parted(str(value))
        name = name if place is None else f"{name}#{place}"
        value = _from_file(file, name, root, most_bytes(file, max_pixels, decoding))
    elif not isinstance(value, bytes):
        kind = "missing" if value is None or value is pd.NA or value != value else type(value).__name__
        raise InputError(f"{name} is {kind}; {WANTED}")
    return value, name


def _from_uri(uri: str, name: str) -> bytes:
    header, comma, body = uri.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise InputError(f"{name}: {header[:60]!r} is a data URI without ';base64,'; {WANTED}")
    body = "".join(body.split())  # encoders break lines, and some leave the padding out
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except ValueError as error:
        raise InputError(f"{name}: what follows ';base64,' is no base64: {error}") from None


def _from_file(path: str, name: str, root: Path | None, limit: int) -> bytes:
    shown = f"{name}: {path[:200]!r}"
    if root is None:
        raise InputError(f"{shown} is no data URI, and paths are read only of a model loaded with image_root; {WANTED}")
    try:
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            problem = f"lies outside of image_root, {root}"
        elif not file.exists():
            problem = "is not there" if root.parent == root else f"is not there under image_root, {root}"
        elif not file.is_file():  # a device or pipe never ends
            problem = "is no regular file"
        else:
            with file.open("rb") as opened:
                data = opened.read(limit + 1)
            if len(data) <= limit:
                return data
            problem = f"has more than {limit} bytes"
    except (OSError, ValueError, RuntimeError) as error:  # no permission, a NUL or a name too long, links in a circle
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    raise InputError(f"{shown} {problem}; {WANTED}")


def encode(
    cases: pd.DataFrame, variant: Mapping[str, Any], names: Sequence[str]
) -> tuple[npt.NDArray[np.float32], list[tuple[Hashable, str]]]:
    """(rows, features) of raw metadata, NaN for unknown, by the code that encodes training rows; and what is wrong, in
    which row: a value that is none of a feature's, or no number in its range.

    `variant` is what the model was trained on, with the task's `features`; `names` are the model's columns, which tell
    how it takes unknown categories.
    """
    declared = declared_features(variant)
    parsed: dict[str, pd.Series] = {}
    wrong: list[tuple[Hashable, str]] = []
    for name, feature in declared.items():
        if isinstance(feature, Category):
            text = parsed[name] = features.read_category(cases[name], feature)
            bad = ~text.isin([*feature.values, UNKNOWN])
            wanted = f"{UNKNOWN} or one of: {', '.join(feature.values)}"
        else:
            text, (low, high) = _text(cases[name]).mask(is_missing(cases[name]), None), feature.range
            number = parsed[name] = pd.to_numeric(text, errors="coerce").astype(np.float64)
            bad = text.notna() & ~number.between(low, high)
            wanted = f"a number from {low:g} to {high:g}, or {UNKNOWN}"
        wrong += [(row, f"{name} is {text[row]!r}, must be {wanted}") for row in cases.index[bad]]
    policy = "category" if any(f"{name}_{UNKNOWN}" in names for name in declared) else "impute"
    table = pd.DataFrame(parsed, index=cases.index)
    encoded = pd.concat([table, features.encode(table, declared, policy)], axis=1)
    return encoded[list(names)].to_numpy(np.float32), wrong


def declared_features(variant: Mapping[str, Any]) -> dict[str, Feature]:
    """The features of a table that a model reads, as `prepare` recorded them; none of images."""
    return TypeAdapter(dict[str, Feature]).validate_python(variant.get("features", {}))


def _text(values: pd.Series) -> pd.Series:
    """The values as stripped text, whatever the column's type."""
    return values.astype(object).map(lambda value: str(value).strip())
