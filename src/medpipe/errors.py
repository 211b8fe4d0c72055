"""The errors that bad input raises."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Input that cannot be used. The message names the file, row or key and says what to do."""


class SettingError(InputError):
    """A recipe's setting that does not fit its data. The message begins with the key inside the recipe."""


@contextmanager
def settings_of(key: str) -> Iterator[None]:
    """Within, a SettingError becomes an InputError that names the setting in full, behind `key`."""
    try:
        yield
    except SettingError as error:
        raise InputError(f"{key}.{error}") from error
