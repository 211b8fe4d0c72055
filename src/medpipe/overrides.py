"""Changes of settings: `{"network.weights": None, "loss": {"name": "focal", ...}}`, by dotted key.

A value takes the place of the old one as a whole, also where both are mappings. In a mapping of settings they are
applied by `replace`; `arguments` gives the same to DVC, whose `--set-param` speaks Hydra's grammar.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

from medpipe.errors import InputError


def replace(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with `changes`. Raises InputError for a key that it has not."""
    changed = copy.deepcopy(dict(settings))
    for key, value in changes.items():
        *parents, last = key.split(".")
        _find(changed, key)
        place = changed
        for parent in parents:
            place = place[parent]
        place[last] = copy.deepcopy(value)
    return changed


def arguments(settings: Mapping[str, Any], changes: Mapping[str, Any], prefix: str) -> list[str]:
    """What `--set-param` takes, one a change or two, to make `changes` of the `settings` that stand at `prefix`.

    Raises InputError for a key that `settings` has not, and for a mapping's key that the grammar cannot say.
    """
    found = []
    for key, value in changes.items():
        where = f"{prefix}.{key}"
        old = _find(settings, key)
        if isinstance(old, Mapping) or (isinstance(value, Mapping) and old is not None):
            # A mapping over another one would be merged with it; a null cannot be deleted, and need not be.
            found += [f"~{where}", f"+{where}={_say(value)}"]
        else:
            found.append(f"{where}={_say(value)}")
    return found


def _find(settings: Mapping[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = ", ".join(map(str, value)) if isinstance(value, Mapping) else "nothing"
            raise InputError(f"{key}: no such key; {part!r} is none of {known}")
        value = value[part]
    return value


def _say(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            escaped = value.replace("'", r"\'")
            return f"'{escaped}'"
        case Mapping():
            for key in value:
                if not re.fullmatch(r"[A-Za-z_][\w-]*", str(key)):
                    raise InputError(f"{key!r}: DVC cannot set a key of other characters than letters, digits, _, -")
            return "{" + ",".join(f"{key}:{_say(item)}" for key, item in value.items()) + "}"
        case _:
            return "[" + ",".join(_say(item) for item in value) + "]"
