"""Raw cases as a served model is sent them: images in any form that may come, and metadata, to what the model reads."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from medpipe.data import features
from medpipe.data.features import CATEGORICAL, UNKNOWN
from medpipe.data.images import decode
from medpipe.data.missing import is_missing
from medpipe.errors import InputError

OLDEST = 120  # years
WANTED = "give the file's bytes, or data:image/jpeg;base64,... as text"


def read_image(value: Any, name: str, max_pixels: int, root: Path | None) -> Image.Image:
    """The image of a file's bytes, of a data URI, or where `root` is given of a path to a file under that folder.

    `name` is for messages. Raises InputError that says what is wrong with the value, or with the image in it.
    """
    if isinstance(value, str) and value[:5].lower() == "data:":
        value = _from_uri(value, name)
    elif isinstance(value, str | Path):
        value = _from_file(value, name, root, 4 * max_pixels)  # bytes: no image of that many pixels needs more
    elif not isinstance(value, bytes):
        kind = "missing" if value is None or value is pd.NA or value != value else type(value).__name__
        raise InputError(f"{name} is {kind}; {WANTED}")
    return decode(value, name=name, max_pixels=max_pixels)


def _from_uri(uri: str, name: str) -> bytes:
    header, comma, body = uri.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise InputError(f"{name}: {header[:60]!r} is a data URI without ';base64,'; {WANTED}")
    body = "".join(body.split())  # encoders break lines, and some leave the padding out
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except ValueError as error:
        raise InputError(f"{name}: what follows ';base64,' is no base64: {error}") from None


def _from_file(path: str | Path, name: str, root: Path | None, limit: int) -> bytes:
    shown = f"{name}: {str(path)[:200]!r}"
    if root is None:
        raise InputError(f"{shown} is no data URI, and paths are read only of a model loaded with image_root; {WANTED}")
    try:
        file = (root / path).resolve()
        if not file.is_relative_to(root):
            problem = f"lies outside of image_root, {root}"
        elif not file.exists():
            problem = f"is not there under image_root, {root}"
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


def encode(cases: pd.DataFrame, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """(rows, features) of raw age, sex and localization, NaN for unknown, by the code that encodes training rows.

    `names` are the model's features; they tell which values it knows, and how it takes unknown ones. Raises InputError
    that names the row whose value is none of them, or whose age is no number of years from 0 to OLDEST.
    """
    columns, vocabulary = {}, {}
    for name in CATEGORICAL:
        found = [n.removeprefix(f"{name}_") for n in names if n.startswith(f"{name}_")]
        vocabulary[name] = [value for value in found if value != UNKNOWN]
        columns[name] = _text(cases[name], UNKNOWN)
        for row in cases.index[~columns[name].isin([*vocabulary[name], UNKNOWN])]:
            choice = ", ".join(vocabulary[name])
            raise InputError(f"row {row}: {name} is {columns[name][row]!r}, must be {UNKNOWN} or one of: {choice}")
    text = _text(cases["age"], None)
    age = pd.to_numeric(text, errors="coerce").astype(np.float64)
    for row in cases.index[(age.isna() & text.notna()) | (age < 0) | (age > OLDEST)]:
        raise InputError(f"row {row}: age is {text[row]!r}, must be years from 0 to {OLDEST}, or {UNKNOWN}")
    policy = "category" if f"{CATEGORICAL[0]}_{UNKNOWN}" in names else "impute"
    encoded = features.encode(pd.DataFrame(columns), vocabulary, policy).assign(age=age)
    return encoded[list(names)].to_numpy(np.float32)


def _text(values: pd.Series, unknown: str | None) -> pd.Series:
    """The values as text, of whatever type the column is, and `unknown` where they stand for that."""
    values = values.astype(object)
    return values.map(lambda value: str(value).strip()).where(~is_missing(values), unknown)
