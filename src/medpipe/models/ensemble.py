"""What the weighted mean of trained classifiers is delivered as."""

from collections.abc import Sequence
from dataclasses import replace

from medpipe.models.delivery import Delivery


def combine(members: Sequence[Delivery]) -> Delivery:
    """The first of the `members`, which know the same classes, with what all of them read, each variant once."""
    parts = [part for m in members for part in zip(m.inputs, m.variants, m.features, strict=True)]
    inputs, variants, features = zip(*{part[0]: part for part in parts}.values(), strict=True)
    return replace(members[0], inputs=inputs, variants=variants, features=features)
