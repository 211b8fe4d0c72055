"""A recipe brought together with its data: what a training needs before its first step."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from medpipe import backend
from medpipe.data.arrays import Arrays, channel_statistics, load_task, targets
from medpipe.data.vocabulary import merged_classes
from medpipe.errors import SettingError
from medpipe.models import embedding, weights
from medpipe.models.build import build
from medpipe.models.delivery import Delivery
from medpipe.params import BackboneRecipe, Recipe
from medpipe.training.batches import Samples
from medpipe.training.doping import Generated, Stacked, load
from medpipe.training.selection import Rows, class_targets, select

# Random features are standardised by so many rows.
_ROWS = 256


@dataclass(frozen=True)
class Training:
    """A recipe and the rows of its task.

    - rows: the split's table, row by row beside `arrays`; labels (n,): places in `classes`
    - truth: what the model is to say, as `Samples` wants it
    - stats: of the training rows, as split fitted them, and under `normalise: data` of their channels
    - train, val: row numbers
    - generated: images that fill classes up in training
    """

    settings: Recipe
    rows: pd.DataFrame
    arrays: Arrays
    classes: tuple[str, ...]
    labels: Rows
    truth: npt.NDArray
    stats: dict[str, Any]
    train: Rows
    val: Rows
    generated: Generated | None

    @property
    def segments(self) -> bool:
        return self.truth.ndim == 3

    def build(self) -> keras.Model:
        """The recipe's model, with initial weights by the seed that Keras is set to.

        A backbone that begins at random, and is frozen in part or for a while, has its features standardised by
        some of the training rows, spread evenly over all.
        """
        settings = self.settings
        classes = 1 + len(self.arrays.marks) if self.segments else len(self.classes)
        model = build(settings, self.arrays.inputs.shape[1:], classes, self.stats)
        if (
            isinstance(settings, BackboneRecipe)
            and settings.network.weights is None
            and (settings.network.unfreeze != "all" or settings.warmup is not None)
        ):
            rows = self.train[:: -(-len(self.train) // _ROWS)]
            embedding.standardise(model, self.arrays.inputs[rows], settings.batch)
        return model

    def samples(self, rows: Rows) -> Samples:
        return Samples(self.arrays.inputs, self.truth, rows)

    @property
    def learnt(self) -> Samples:
        """What trains: the training rows, and behind them what was generated."""
        if self.generated is None:
            return self.samples(self.train)
        drawn, count = self.generated, len(self.rows)
        truth = class_targets(np.concatenate([self.labels, drawn.labels]), self.classes, self.settings)
        rows = np.concatenate([self.train, count + np.arange(len(drawn.labels))])
        inputs: Any = Stacked(self.arrays.inputs, drawn.arrays.inputs)
        return Samples(inputs, truth, rows, len(drawn.labels))

    @property
    def read(self) -> list[Arrays]:
        """All that it is made from, for the run's record."""
        return [self.arrays, *([] if self.generated is None else [self.generated.arrays])]

    def described(self, seed: int, deterministic: bool) -> dict[str, Any]:
        """All that the training follows from, code and rows aside: the run's parameters, and what is delivered."""
        about: dict[str, Any] = {
            "seed": seed,
            "deterministic": deterministic,
            "rows": len(self.train),
            "backend": backend.name(),
            "variant": self.arrays.variant,
        }
        if isinstance(self.settings, BackboneRecipe) and (source := weights.lineage(self.settings.network.weights)):
            about["weights"] = source
        return self.settings.model_dump(mode="json") | about

    def delivery(self, name: str, described: dict[str, Any]) -> Delivery:
        """What the trained model is delivered with; `described` says how it was trained."""
        return Delivery(
            name=name,
            task=self.settings.task,
            kind="segmenter" if self.segments else "classifier",
            classes=self.classes,
            inputs=self.settings.inputs[:1],
            variants=(self.arrays.variant,),
            features=(tuple(self.arrays.features),),
            stats=self.stats,
            threshold=None,
            settings=described,
        )


def assemble(
    settings: Recipe, names: Sequence[str], split: Path, prepared: Path, seed: int, most: int | None
) -> Training:
    """`names` are the task's classes, `split` is its split folder, `prepared` the folder of prepared variants,
    `most` the most training rows.

    Raises SettingError for settings that do not fit the data.
    """
    rows, [arrays] = load_task(split, [prepared / settings.inputs[0]])
    stats = json.loads((split / "stats.json").read_text())
    classes, labels = merged_classes(names, settings.merge), targets(rows, names, settings.merge)
    train, val = select(rows, classes, labels, settings, seed, most)
    truth = arrays.masks if settings.architecture == "resunet" else class_targets(labels, classes, settings)
    if truth is None:
        raise SettingError(f"inputs: a segmenter, but {arrays.name} has no masks; take those of a task with masks")
    if isinstance(settings, BackboneRecipe) and settings.network.normalise == "data":
        stats |= {"channels": channel_statistics(arrays.inputs, train)}
    generated = None
    if settings.generator is not None:
        if arrays.inputs.ndim != 4:
            raise SettingError(f"inputs: {arrays.name} is a table, which generated images cannot fill up")
        generated = load(prepared / settings.generator, names, settings.merge)
    return Training(settings, rows, arrays, classes, labels, truth, stats, train, val, generated)
