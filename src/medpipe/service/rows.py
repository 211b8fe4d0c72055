"""Requests' bodies as rows of raw cases. Whatever is wrong with one row stays with that row."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 200  # characters of metadata, and of what a message quotes
IMAGE = "image"
CASE = "case"  # of a row, if the sender says of which patient or study it is: for the log, not for the model


class BadRequestError(Exception):
    """A request of which no row can be answered: a status of HTTP, and what is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Rows:
    """n cases; `errors` says of each what is wrong with it, and None where nothing is."""

    cases: tuple[Any, ...]
    errors: tuple[str | None, ...]

    @property
    def sound(self) -> list[dict[str, Any]]:
        """What the model reads of those that are right."""
        right = (case for case, error in zip(self.cases, self.errors, strict=True) if error is None)
        return [{name: value for name, value in case.items() if name != CASE} for case in right]

    @property
    def said(self) -> list[str | None]:
        """Of each row the patient or study that it is said to be of."""
        return [case.get(CASE) if error is None else None for case, error in zip(self.cases, self.errors, strict=True)]


class _Doubled(dict):
    """An object in which a key stood twice, of which JSON does not say which one counts."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled, seen = _Doubled(found), set()
    for key, _ in pairs:
        if key in seen:
            doubled.key = key
        seen.add(key)
    return doubled


def decoded(body: bytes) -> Any:
    """A body's JSON; an object in which a key stands twice is a row that is wrong. Raises BadRequestError."""
    try:
        # Numbers too long for int() are beyond any range; float() says inf.
        text = body.decode("utf-8")
        sent = json.loads(text, object_pairs_hook=_object, parse_int=lambda n: int(n) if len(n) < 20 else float(n))
    except UnicodeDecodeError as error:
        raise BadRequestError(400, f"body: no UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise BadRequestError(400, "body: nested too deeply") from None
    except ValueError as error:
        raise BadRequestError(400, f"body: no JSON: {error}") from None
    if isinstance(sent, _Doubled):
        raise BadRequestError(400, f"body: {quoted(sent.key)} stands there twice")
    return sent


def from_json(body: bytes, fields: Sequence[str], most: int) -> Rows:
    """The rows of `{"rows": [{field: value, ...}, ...]}`; an image is a data URI. Raises BadRequestError."""
    sent = decoded(body)
    if not isinstance(sent, dict) or set(sent) != {"rows"} or not isinstance(sent["rows"], list):
        wanted = ", ".join(f'"{name}": ...' for name in fields)
        raise BadRequestError(422, f'body: {{"rows": [{{{wanted}}}]}} wanted, and nothing else')
    _count(len(sent["rows"]), most)
    return Rows(tuple(sent["rows"]), tuple(wrong(row, fields) for row in sent["rows"]))


def from_form(images: Sequence[bytes], texts: Sequence[tuple[str, str]], fields: Sequence[str], most: int) -> Rows:
    """The rows of a form: `images`, the files of its field `image`, and one text a row for each other field, in order.

    Raises BadRequestError where a field does not come as often as there are rows.
    """
    columns: dict[str, list[Any]] = {name: [] for name in fields}
    if IMAGE in columns:
        columns[IMAGE] = list(images)
    elif images:
        raise BadRequestError(422, f"{IMAGE}: the model reads none, but {', '.join(fields)}")
    if any(name == CASE for name, _ in texts):
        columns[CASE] = []
    for name, text in texts:
        if name not in columns:
            raise BadRequestError(422, f"{quoted(name)}: the model reads no such field, but {', '.join(fields)}")
        if name == IMAGE:
            raise BadRequestError(422, f"{IMAGE}: a text; send a file (in a form, `filename=` makes it one)")
        columns[name].append(text)
    count = len(columns[fields[0]])
    for name, values in columns.items():
        if len(values) != count:
            raise BadRequestError(422, f"{name}: {len(values)} times, but {count} of {fields[0]}; one a row wanted")
    _count(count, most)
    cases = tuple(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return Rows(cases, tuple(wrong(case, fields) for case in cases))


def _count(rows: int, most: int) -> None:
    if not 0 < rows <= most:
        raise BadRequestError(422, f"rows: {rows} of them, 1 to {most} wanted")


def wrong(row: Any, fields: Sequence[str]) -> str | None:
    """What is wrong with a row before the model sees it, by its field."""
    if isinstance(row, _Doubled):
        return f"{quoted(row.key)} stands there twice"
    if not isinstance(row, dict):
        return f"row is {_kind(row)}; an object of {', '.join(fields)} wanted"
    if unknown := [key for key in row if key not in (*fields, CASE)]:
        return f"{quoted(unknown[0])}: the model reads no such field, but {', '.join(fields)}"
    for name in fields:
        if name not in row:
            return f"{name} is not there; null stands for unknown"
        if problem := _wrong_value(row[name], name):
            return f"{name} is {problem}"
    if CASE in row:
        problem = _wrong_value(row[CASE], CASE) or (None if isinstance(row[CASE], str) and row[CASE] else "no text")
        return problem and f"{CASE} is {problem}; leave it out where it is unknown"
    return None


def _wrong_value(value: Any, name: str) -> str | None:
    if isinstance(value, dict | list):
        return f"{_kind(value)}; a text, a number or null wanted"
    if isinstance(value, float) and not math.isfinite(value):
        return "no finite number; null stands for unknown"
    if isinstance(value, str):
        if name != IMAGE and len(value) > LONGEST:
            return f"a text of {len(value)} characters, at most {LONGEST} wanted"
        if "\0" in value or not _encodes(value):
            return f"{quoted(value)}, which is no text"
    return None


def _encodes(text: str) -> bool:
    """Whether it is without halves of a letter, which JSON's escapes can say."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def quoted(text: str) -> str:
    """A text from outside for a message: short, and without any letter that does not print."""
    return ascii(text[:60])
