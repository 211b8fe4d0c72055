"""What one user's page has computed, so that moving a slider computes nothing again."""

from collections.abc import Callable, Hashable, MutableMapping
from typing import Any

from medpipe.app.texts import LANGUAGES


class Memory:
    """Values by key. What a whole run of the page did not ask for is forgotten at its end: uploads that were taken
    back, answers to what was changed."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}
        self._used: set[Hashable] = set()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        self._used.add(key)
        if key not in self._values:
            self._values[key] = make()
        return self._values[key]

    def sweep(self) -> None:
        self._values = {key: value for key, value in self._values.items() if key in self._used}
        self._used.clear()


def carry(state: MutableMapping[Any, Any], language: str) -> None:
    """Give the widgets of a `language` that was chosen what was said in those of another (`texts.Speaker.key`)."""
    for key in map(str, list(state)):
        spoken, sign, name = key.partition(":")
        if sign and spoken in LANGUAGES and spoken != language:
            state[f"{language}:{name}"] = state[key]
