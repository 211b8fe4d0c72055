"""The errors that bad input raises."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Input that cannot be used. The message names the file, row or key and says what to do."""


class Unreadable(InputError):  # noqa: N818
    """A file that gives no usable image: `name`, and the reason without it (`kind: detail`)."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[type["Unreadable"], tuple[str, str]]:
        return Unreadable, (self.name, self.reason)


class SettingError(InputError):
    """A recipe's setting that does not fit its data. The message begins with the key inside the recipe."""


@contextmanager
def settings_of(key: str) -> Iterator[None]:
    """Within, a SettingError becomes an InputError that names the setting in full, behind `key`."""
    try:
        yield
    except SettingError as error:
        raise InputError(f"{key}.{error}") from error
