"""A generator's report: its images beside as many real ones that it did not see, both against training images."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from medpipe.generation import gallery, measures, memorised
from medpipe.generation.assemble import Reading
from medpipe.generation.draw import draw, draw_new, noise, one_hot
from medpipe.generation.features import Extractor, classifier
from medpipe.training.selection import Rows

_DRAWN, _REFERENCE = 4, 5  # streams of random numbers
_COLUMNS, _CLOSEST = 8, 10


@dataclass(frozen=True)
class Measured:
    """- images (n, h, w, 3) uint8 and labels (n,): all that was drawn, class by class
    - report: figures; pictures: images and their columns, by name
    """

    images: npt.NDArray[np.uint8]
    labels: Rows
    report: dict[str, Any]
    pictures: dict[str, tuple[npt.NDArray[np.uint8], int]]


def measure(reading: Reading, generator: keras.Model, extractor: Extractor) -> Measured:
    """Draws `drawn` images of each class, or as many as it has validation rows, and measures as many.

    Three sets of one size and one mix of classes, those of the validation rows: generated images, validation images
    and training images drawn by the settings' seed. What separates the second from the third is the floor: no
    generator can be asked for less.
    """
    settings, classes = reading.settings, len(reading.classes)
    seed = settings.seed
    held, learnt = (np.bincount(reading.labels[rows], minlength=classes) for rows in (reading.val, reading.train))
    counts = np.minimum(held, learnt)
    drawn = np.maximum(settings.drawn, counts)
    labels = np.repeat(np.arange(classes), drawn)
    images = draw_new(generator, one_hot(labels, classes), [seed, _DRAWN])

    chosen = _first(labels, np.arange(len(labels)), counts)
    held_out = _first(reading.labels, reading.val, counts)
    train = np.random.default_rng([seed, _REFERENCE]).permutation(reading.train)
    place = {row: at for at, row in enumerate(reading.train)}
    reference = np.array([place[row] for row in _first(reading.labels, train, counts)])
    generated, real = images[chosen], np.asarray(reading.arrays.inputs[held_out])
    training = np.asarray(reading.arrays.inputs[reading.train])
    of_generated, of_real, of_training = (extractor(part) for part in (generated, real, training))
    judged = classifier(of_training, reading.labels[reading.train]) if classes > 1 else None

    def compared(kept: npt.NDArray[np.bool_]) -> dict[str, Any]:
        base = of_training[reference][kept]
        found: dict[str, Any] = {"images": int(kept.sum())}
        if kept.sum() <= settings.nearest:
            return found
        for key, part in (("generated", of_generated[kept]), ("floor", of_real[kept])):
            found[key] = {
                "fid": measures.frechet(base, part),
                "kid": measures.kernel(base, part),
                **measures.overlap(base, part, settings.nearest)._asdict(),
            }
            if judged is not None:
                found[key]["inception_score"] = measures.inception_score(judged(part))
        return found

    own = labels[chosen]
    copies, closest = {}, {}
    for key, (a, b, c) in {
        "pixels": tuple(memorised.flat(part) for part in (generated, real, training)),
        "features": (of_generated, of_real, of_training),
    }.items():
        closest[key] = memorised.nearest(a, c)
        copies[key] = memorised.share(closest[key], memorised.nearest(b, c), settings.memorised.quantile)
    report = {
        "features": extractor.name,
        "side": reading.side,
        "training_images": len(reading.train),
        "all": compared(np.ones(len(own), bool)),
        "classes": {name: compared(own == at) for at, name in enumerate(reading.classes)},
        "memorised": copies | {"limit": settings.memorised.limit},
    }
    shown = [np.flatnonzero(own == at)[:_COLUMNS] for at in range(classes)]
    beside = np.concatenate([part[_padded(rows)] for rows in shown if len(rows) for part in (real, generated)])
    pictures = {
        "real-and-generated": (beside, _COLUMNS),
        "interpolation": (_between(generator, classes, seed), _COLUMNS),
    } | {f"closest-{key}": (gallery.pairs(generated, training, near, _CLOSEST), 2) for key, near in closest.items()}
    return Measured(images, labels, report, pictures)


def _first(labels: Rows, rows: Rows, counts: Rows) -> Rows:
    """Of each class the first `counts` of `rows`, class by class."""
    return np.concatenate([rows[labels[rows] == at][:count] for at, count in enumerate(counts)])


def _padded(rows: Rows) -> Rows:
    """Filled up to a row of the picture."""
    return np.resize(rows, _COLUMNS)


def _between(generator: keras.Model, classes: int, seed: int) -> npt.NDArray[np.uint8]:
    """From each class to the next in equal steps, with one noise throughout."""
    shares = np.linspace(0, 1, _COLUMNS, dtype=np.float32)[:, None]
    pairs = [(at, (at + 1) % classes) for at in range(classes)]
    of = np.concatenate([(1 - shares) * np.eye(classes)[a] + shares * np.eye(classes)[b] for a, b in pairs])
    return draw(generator, np.repeat(noise(generator, 1, [seed, _DRAWN]), len(of), axis=0), of.astype(np.float32))
