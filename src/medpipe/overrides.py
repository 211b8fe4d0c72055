"""Changes of a recipe in params.yaml: `{"network.weights": None, "loss": {"name": "focal", ...}}`, by dotted key.

A key may stand in the recipe or in its base, and a value takes the place of the old one as a whole, also where both are
mappings. `change` makes the changes in the values of the file; `arguments` gives the same to DVC, whose `--set-param`
speaks Hydra's grammar.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

from medpipe.bases import expand
from medpipe.errors import InputError


def replace(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with `changes`. Raises InputError for a key that it has not."""
    for key in changes:
        _find(settings, key)
    return _put(settings, changes)


def full(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`models.<name>` of `values`, what `params.read` gives, over its base."""
    return expand(values)["models"][name]


def change(values: Mapping[str, Any], name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` of `models.<name>`, as `arguments` has DVC make them.

    Raises InputError for a key that neither the recipe nor its base has, and for a mapping that cannot take the place
    of its base's, since their keys are merged.
    """
    wanted = replace(full(values, name), changes)
    changed = {**values, "models": {**values["models"], name: _put(values["models"][name], changes)}}
    found = full(changed, name)
    for key in changes:
        if _find(found, key) != _find(wanted, key):
            base = values["models"][name]["base"]
            raise InputError(f"{key}: bases.{base}.{key} has keys that this lacks; give each of them a value")
    return changed


def arguments(values: Mapping[str, Any], name: str, changes: Mapping[str, Any]) -> list[str]:
    """What `--set-param` takes, one a change or two, to make `changes` of `models.<name>`.

    Raises InputError for a key that the recipe has not, and for a mapping's key that the grammar cannot say.
    """
    settings, own, found = full(values, name), values["models"][name], []
    for key, value in changes.items():
        where = f"models.{name}.{key}"
        _find(settings, key)
        try:
            old = _find(own, key)
        except InputError:  # it stands in the base
            found.append(f"+{where}={_say(value)}")
            continue
        if isinstance(old, Mapping) or (isinstance(value, Mapping) and old is not None):
            # A mapping over another one would be merged with it; a null cannot be deleted, and need not be.
            found += [f"~{where}", f"+{where}={_say(value)}"]
        else:
            found.append(f"{where}={_say(value)}")
    return found


def _put(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(dict(settings))
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = changed
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = copy.deepcopy(value)
    return changed


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
