"""What a model says of one case, in the parts that a person is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from medpipe.models import ood
from medpipe.service.heat import probabilities
from medpipe.service.rows import IMAGE
from medpipe.service.served import Served

STRANGE = 0.05  # an out-of-distribution score so low, which 5 % of validation rows have, is warned of


@dataclass(frozen=True)
class Answer:
    """`error`, and nothing else; or what the model says, None for what it does not tell.

    - chances: the probability of each class, the likeliest first
    - decision: a class, or `refer`; possible: the classes that are not ruled out
    - ood: the out-of-distribution score
    - shares: of the pixels, by what is outlined; mask: a PNG of the image's size
    """

    error: str | None = None
    chances: Mapping[str, float] = field(default_factory=dict)
    decision: str | None = None
    possible: tuple[str, ...] | None = None
    ood: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    mask: bytes | None = None

    @property
    def strange(self) -> bool:
        return self.ood is not None and self.ood <= STRANGE


def answer(model: Served, image: bytes | None, person: Mapping[str, Any]) -> Answer:
    """The model's answer to the file `image` and what is known of the person, None for unknown."""
    case = {name: image if name == IMAGE else person[name] for name in model.inputs}
    [said] = model.predict(pd.DataFrame([case], dtype=object)).to_dict("records")
    if said["error"] is not None:
        return Answer(said["error"])
    classes, marks = model.recipe.classes, model.recipe.marks
    chances = {name: float(said[column]) for name, column in probabilities(model).items()}
    if len(chances) == 1:  # a cascade's, of the second of its two classes
        chances |= {classes[0]: 1 - chances[classes[1]]}
    names = str(said.get("set")).split(", ")
    shares = {name: said[f"share_{name}"] for name in marks} if len(marks) > 1 else {classes[1]: said.get("share")}
    return Answer(
        chances=dict(sorted(chances.items(), key=lambda item: -item[1])),
        decision=said.get("decision"),
        possible=tuple(name for name in classes if name in names) if "set" in said else None,
        ood=said.get(ood.COLUMN),
        shares={name: float(share) for name, share in shares.items() if share},
        mask=said.get("mask"),
    )
