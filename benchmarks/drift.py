"""How often `medpipe drift` alarms without drift, and how soon with it.

    python benchmarks/drift.py [REPEATS]

Prints the tables of docs/drift.md. Without drift: 10,000 times (by class 2,000 times) 10,000 uniform p values; and
REPEATS (200) times 10,000 phantoms of skin, one a lesion. A convolutional network is trained on 1,500 others at 64 px
and has its out-of-distribution score calibrated on 500 validation phantoms, drawn anew each time from the same pool, as
are the 10,000 that follow; its own answers and embeddings are tested. With drift, a quarter as often: 1,000 phantoms as
before, then 2,000 changed ones; `prevalence` draws melanomas three times as often.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import machine
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from medpipe import backend
from medpipe.drift import conformal, directions, martingale
from medpipe.evaluation.ood import fit
from medpipe.models.ood import Detector
from medpipe.phantoms.skin import SHARES
from medpipe.phantoms.skin_drawing import draw_lesion, photograph

SIDE, TRAIN, VALIDATION, CASES, BEFORE, AFTER, UNIFORM = 64, 1500, 500, 10_000, 1000, 2000, 10_000
EPOCHS, BATCH = 15, 64
CLASSES = tuple(SHARES)

Images = npt.NDArray[np.uint8]
Said = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
Alarms = tuple[int | None, ...]
TESTS = ("distance", "classes", "embedding")


def draw(count: int) -> tuple[Images, npt.NDArray[np.int64]]:
    """(n, SIDE, SIDE, 3) phantoms and their classes (n,), by the classes' shares in HAM10000."""
    shares = np.array([*SHARES.values()]) / sum(SHARES.values())
    labels = np.random.default_rng(0).choice(len(CLASSES), count, p=shares)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for i, label in enumerate(labels):
        rng = np.random.default_rng([1, i])
        photo = photograph(rng, draw_lesion(rng, CLASSES[label]))
        images[i] = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return images, labels


def times(*gains: float) -> Callable[[Images], Images]:
    return lambda images: (images * np.array(gains)).clip(0, 255).astype(np.uint8)


def blur(images: Images) -> Images:
    blurred = (Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.7)) for image in images)
    return np.stack([np.asarray(image) for image in blurred])


CHANGES = {
    "brightness x 0.95": times(0.95),
    "brightness x 0.9": times(0.9),
    "brightness x 0.8": times(0.8),
    "camera: red x 1.05, blue x 0.95": times(1.05, 1, 0.95),
    "camera: red x 1.1, blue x 0.9": times(1.1, 1, 0.9),
    "camera: blurred by 0.7 px": blur,
}


class Phantoms:
    """What the network says of each phantom of the pool: its distance, the class and its embedding."""

    def __init__(self) -> None:
        import keras

        from medpipe.models.convnet import build
        from medpipe.models.embedding import observed
        from medpipe.models.predict import predict
        from medpipe.params import Convnet

        images, labels = draw(TRAIN + VALIDATION + CASES)
        backend.start(0, "float32")
        network = Convnet.model_construct(filters=(16, 32, 64), units=64, dropout=0.2)
        model = build(network, (SIDE, SIDE, 3), len(CLASSES))
        model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
        model.fit(images[:TRAIN].astype(np.float32), labels[:TRAIN], BATCH, EPOCHS, verbose=0)
        seen = observed(model)

        def said(some: Images) -> tuple[npt.NDArray, npt.NDArray[np.int64]]:
            outputs = predict(seen, [some], np.arange(len(some)), 256)
            return outputs["embedding"], outputs["output"].argmax(axis=1)

        embedding, _ = said(images[:TRAIN])
        self.detector: Detector = fit(embedding, labels[:TRAIN], embedding)  # calibrated anew each time
        pool, self.labels = images[TRAIN:], labels[TRAIN:]
        self.known = self._scored(said(pool))
        self.changed = {name: self._scored(said(change(pool))) for name, change in CHANGES.items()}
        self.accuracy = float((self.known[1] == self.labels).mean())

    def _scored(self, said: tuple[npt.NDArray, npt.NDArray[np.int64]]) -> Said:
        return self.detector.distance(said[0]), said[1], said[0]

    def alarms(self, validation: npt.NDArray, stream: Said, seed: int) -> Alarms:
        """Of TESTS; `validation` are places in the pool."""
        distances, classes, embedding = stream
        distance, said = (values[validation] for values in self.known[:2])
        calibrated = replace(self.detector, known=np.sort(distance.astype(np.float32)))
        nearer = (np.searchsorted(calibrated.known, some.astype(np.float32)) for some in (distances, distance))
        scores, known = (1 - places / (1 + len(validation)) for places in nearer)
        seeds, limit = np.random.SeedSequence(seed).spawn(3), martingale.limit(3)
        p = conformal.of_scores(scores, known, len(validation), seeds[0])
        far = martingale.capital(martingale.distance_bets(p))
        p, share = conformal.of_classes(classes, np.bincount(said, minlength=len(CLASSES)), seeds[1])
        told = martingale.mean(martingale.capital(martingale.class_bets(p, share)))
        paths = (far, told, directions.path(embedding, seeds[2]))
        return tuple(martingale.alarm(path, limit) for path in paths)

    def run(self, name: str | None, seed: int) -> Alarms:
        """Of a stream without drift, with a change of CHANGES, or with three times as many melanomas."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.labels))
        validation, order = order[:VALIDATION], order[VALIDATION:]
        if name is None:
            distances, classes, embedding = self.known
            return self.alarms(validation, (distances[order], classes[order], embedding[order]), seed)
        before, after = order[:BEFORE], order[BEFORE:]
        if name == "prevalence":
            weight = np.where(self.labels[after] == CLASSES.index("mel"), 3.0, 1.0)
            after = after[np.argsort(-np.log(rng.random(len(after))) / weight)]  # weighted, without replacement
        later = self.changed.get(name, self.known)
        stream = [np.concatenate([a[before], b[after[:AFTER]]]) for a, b in zip(self.known, later, strict=True)]
        return self.alarms(validation, (stream[0], stream[1], stream[2]), seed)


def uniform() -> tuple[float, float]:
    """The share of UNIFORM streams of CASES p values on which a test alarms: of distances, of seven classes."""
    rng, limit, found = np.random.default_rng(0), martingale.limit(3), [0, 0]
    for _ in range(UNIFORM // 500):
        path = martingale.capital(martingale.distance_bets(rng.random((CASES, 500))))
        found[0] += int((path >= limit).any(axis=0).sum())
    shares = np.array([*SHARES.values()]) / sum(SHARES.values())
    for _ in range(UNIFORM // 500):
        for _ in range(5):  # what fits into memory
            bets = martingale.class_bets(rng.random((CASES, 20, 7)), np.tile(shares, (CASES, 20, 1)))
            path = martingale.mean(martingale.capital(bets))
            found[1] += int((path >= limit).any(axis=0).sum())
    return found[0] / UNIFORM, found[1] / (UNIFORM // 5)


def main(repeats: int) -> None:
    machine.describe()
    start = time.perf_counter()
    far, told = uniform()
    print(
        f"\nUniform p values, {CASES} cases: {far:.2%} of {UNIFORM} by distance, {told:.2%} of {UNIFORM // 5} by class."
    )
    print(f"{time.perf_counter() - start:.0f} s", flush=True)
    phantoms = Phantoms()
    print(
        f"\nPhantoms: the network is right in {phantoms.accuracy:.1%}. {time.perf_counter() - start:.0f} s", flush=True
    )
    found = [phantoms.run(None, seed) for seed in range(repeats)]
    alarms = [f"{test} {sum(one[i] is not None for one in found)}" for i, test in enumerate(TESTS)]
    some = sum(any(test is not None for test in one) for one in found)
    print(f"No drift, {CASES} cases, {repeats} times: {', '.join(alarms)}, any of them {some} alarms.")
    print(f"\n| change |{''.join(f' {test} | after |' for test in TESTS)}\n|---|{'---|' * 2 * len(TESTS)}")
    for name in (*CHANGES, "prevalence"):
        found = [phantoms.run(name, seed) for seed in range(repeats // 4)]
        cells = []
        for test in range(len(TESTS)):
            after = [one[test] - BEFORE + 1 for one in found if one[test] is not None and one[test] >= BEFORE]
            cells += [f"{len(after) / len(found):.0%}", f"{np.median(after):.0f}" if after else "–"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
