"""What the weighted mean of trained classifiers is delivered as."""

from collections.abc import Sequence
from dataclasses import replace

from medpipe.errors import InputError
from medpipe.models.delivery import Delivery


def combine(name: str, members: Sequence[Delivery]) -> Delivery:
    """Of the `members` and their mean, settings aside: each prepared variant is one input of it.

    Raises InputError where the members know different classes.
    """
    first = members[0]
    for member in members:
        if member.classes != first.classes:
            known = (f"{m.name} knows {', '.join(m.classes)}" for m in (first, member))
            raise InputError(f"ensembles.{name}: {'; '.join(known)}; train its members with the same `merge`")
    parts = [part for m in members for part in zip(m.inputs, m.variants, m.features, strict=True)]
    inputs, variants, features = zip(*{part[0]: part for part in parts}.values(), strict=True)
    return replace(first, name=name, inputs=inputs, variants=variants, features=features)
