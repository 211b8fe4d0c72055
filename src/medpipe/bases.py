"""A recipe in full: `bases.<base>` of params.yaml with `models.<name>` merged over it, key by key."""

from collections.abc import Mapping
from typing import Any

from medpipe.errors import InputError


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with every recipe of `models` in full, and no `base` left in it.

    A base stands on its own: one that names another is refused, so there can be no cycle. Raises InputError for that
    and for a recipe without a base or of an unknown one.
    """
    bases, models = values.get("bases"), values.get("models")
    if not isinstance(bases, Mapping) or not isinstance(models, Mapping):
        return dict(values)  # what validates the whole says what is wrong
    for name, base in bases.items():
        if isinstance(base, Mapping) and "base" in base:
            raise InputError(f"bases.{name}.base: a base cannot have one; write its keys out")
    return {**values, "models": {name: _full(name, recipe, bases) for name, recipe in models.items()}}


def _full(name: str, recipe: Any, bases: Mapping[str, Any]) -> Any:
    if not isinstance(recipe, Mapping):
        return recipe
    known = ", ".join(bases)
    if "base" not in recipe:
        raise InputError(f"models.{name}.base: missing; name one of bases: {known}")
    if recipe["base"] not in bases:
        raise InputError(f"models.{name}.base: {recipe['base']!r} is none of bases: {known}")
    return merge(bases[recipe["base"]], {key: value for key, value in recipe.items() if key != "base"})


def merge(base: Any, over: Any) -> Any:
    """`over` where it says something, else `base`; of two mappings key by key."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
