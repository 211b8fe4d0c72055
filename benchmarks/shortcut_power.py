"""How often the alarm of the shortcut probes is raised, with a planted mark and without: power and false alarms.

    python benchmarks/shortcut_power.py [REPETITIONS]

Chest phantoms of one hospital on a larger plate, so that nothing but the lungs tells COVID from Normal and these lie
within the region that is blanked; then a mark is planted: a small bright tag in the corner, or a longer exposure.
Its effect is the difference of its prevalence between the classes: at 0.2 it is on 60 % of the COVID images and on 40 %
of the Normal ones, and who sees the mark alone reaches an area under the ROC curve of 0.6. Each repetition draws
training and test images anew from a pool, trains a logistic regression on a frozen random convolution of the images
without their middle, and of their border alone, and asks `probes.alarm`; the third probe of the family reads a source
drawn by chance from the features of the whole images. Prints the table of docs/probes.md.
"""

import sys
import time
from collections.abc import Iterator

import cv2
import machine
import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medpipe.evaluation.intervals import Resamples, ranked
from medpipe.phantoms import chest_drawing
from medpipe.probes import alarm, blank, source

CLASSES, SIDE, EDGE, POOL, TRAIN, SEED = ("Normal", "COVID"), 64, 8, 1600, 800, 5
FILTERS, GRID, C, CONFIDENCE, RESAMPLES = 4, 4, 0.1, 0.95, 200
CASES = [  # effect, test rows, times the repetitions
    *((0.0, rows, 2) for rows in (100, 400, 800)),
    *((effect, 400, 1) for effect in (0.1, 0.2, 0.3)),
    *((0.2, rows, 1) for rows in (200, 800)),
]
NULL = 0.05  # not read: no probe of these tells all
Features = npt.NDArray[np.float32]  # (image probe, marked, class, image, feature)


def pool(mark: str) -> Features:
    """Of each image, without a mark and with it, the features of what each probe leaves of it, and of all of it."""
    whole = np.zeros((SIDE, SIDE), bool)
    regions = [blank.centre(whole.shape, 0.7), blank.centre(whole.shape, 0.8), whole]
    filters = np.random.default_rng(SEED).standard_normal((FILTERS, 5, 5)).astype(np.float32)
    filters -= filters.mean((1, 2), keepdims=True) * np.float32(0.9)  # edges above all, and some of the brightness

    def of(label: int, start: int, stop: int) -> Features:
        found = np.empty((len(regions), 2, stop - start, 2 * FILTERS * GRID * GRID), np.float32)
        for place, number in enumerate(range(start, stop)):
            rng = np.random.default_rng([SEED, label, number])
            plain = np.clip(rng.normal(12, 3, whole.shape), 0, 255).astype(np.uint8)
            plain[EDGE:-EDGE, EDGE:-EDGE] = chest_drawing.draw(rng, CLASSES[label], 3, SIDE - 2 * EDGE)
            for r, region in enumerate(regions):
                for m, image in enumerate((plain, planted(plain, mark))):
                    found[r, m, place] = features(np.where(region, np.uint8(110), image), filters)
        return found

    steps = [(label, start, start + 100) for label in (0, 1) for start in range(0, POOL, 100)]
    parts = Parallel(n_jobs=2)(delayed(of)(*step) for step in steps)
    return np.concatenate(parts, axis=2).reshape(len(regions), 2, 2, POOL, -1)


def planted(image: npt.NDArray[np.uint8], mark: str) -> npt.NDArray[np.uint8]:
    if mark == "exposure":
        return np.clip(image * 1.15, 0, 255).astype(np.uint8)
    marked = image.copy()
    marked[3:7, 3:7] = 235
    return marked


def features(image: npt.NDArray[np.uint8], filters: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A layer of random filters, rectified, its means and maxima over a grid."""
    pixels = image.astype(np.float32) / 255
    maps = np.stack([np.maximum(cv2.filter2D(pixels, -1, kernel), 0) for kernel in filters])
    cells = maps.reshape(len(filters), GRID, SIDE // GRID, GRID, SIDE // GRID)
    return np.concatenate([cells.mean((2, 4)).ravel(), cells.max((2, 4)).ravel()])


def alarms(found: Features, effect: float, rows: int, seed: int) -> dict[str, float | None]:
    """p of each probe on a training and a test set of its own."""
    rng = np.random.default_rng([SEED, seed])
    label = np.arange(TRAIN + rows) % 2
    image = np.empty_like(label)
    for c in (0, 1):
        image[label == c] = rng.permutation(POOL)[: (label == c).sum()]
    marked = (rng.random(len(label)) < 0.5 + (label - 0.5) * effect).astype(int)
    blanked, border, whole = found[:, marked, label, image]
    test = label[TRAIN:]
    weights = Resamples(np.arange(rows), RESAMPLES, seed).weights.T
    p = {}
    for name, x in (("blanked", blanked), ("border", border)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C)).fit(x[:TRAIN], label[:TRAIN])
        said = model.predict_proba(x[TRAIN:])[:, 1]
        value = float(ranked(test == 1, said, np.ones((rows, 1)))[0][0])
        order = np.unique(np.arange(rows).astype(str), return_inverse=True)[1]
        p[name] = alarm.above(value, ranked(test == 1, said, weights[order])[0], 0.5, NULL)
    shown = pd.DataFrame({"label": test, "group": np.arange(rows), "source": rng.choice(["a", "b"], rows)})
    told = source.probe(whole[TRAIN:], shown, 3, C, RESAMPLES, seed)
    assert told is not None
    return p | {
        "source": alarm.above(told.estimates.values[source.TOLD], told.estimates.draws[source.TOLD], told.chance, NULL)
    }


def main(repetitions: int) -> None:
    machine.describe()
    start = time.perf_counter()
    print(
        "\n| mark | effect | test images | blanked | border | source | any: an alarm |\n|---|---|---|---|---|---|---|"
    )
    for line in table(repetitions):
        print(line, flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


def table(repetitions: int) -> Iterator[str]:
    for mark in ("tag", "exposure"):
        found = pool(mark)
        for effect, rows, times in CASES:
            if mark == "exposure" and not effect:
                continue
            count = repetitions * times
            ps = Parallel(n_jobs=2)(delayed(alarms)(found, effect, rows, seed) for seed in range(count))
            judged = [alarm.raised(p, CONFIDENCE) for p in ps]
            shares = [sum(one[name][1] for one in judged) / count for name in ("blanked", "border", "source")]
            shares.append(sum(any(is_raised for _, is_raised in one.values()) for one in judged) / count)
            cells = " | ".join(f"{share:.1%}" for share in shares)
            yield f"| {mark if effect else 'none'} | {effect:g} | {rows} | {cells} |"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
