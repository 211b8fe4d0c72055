"""Images a second that reach a model, augmented, at 224 px: Keras' ImageDataGenerator from JPEGs against our batches.

    python benchmarks/input_pipeline.py [IMAGES]

Both read the same 600x450 JPEGs, made here: the generator in each epoch, by `flow_from_dataframe`; ours once, as
prepare does, which is timed too. Both flip, rotate, shift, zoom and change brightness alike, and end in float32 batches
of 32, which the model makes of our uint8. They take turns in one run, several rounds; the table has the medians.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import machine
import numpy as np
import pandas as pd
from PIL import Image

from medpipe.params import Augmentation
from medpipe.training.batches import Batches, Samples

SIDE, BATCH, ROUNDS = 224, 32, 5
USUAL = Augmentation(
    probability=1.0, horizontal_flip=True, vertical_flip=True, rotation=20, zoom=0.1, shift=0.1, shear=0, brightness=0.1
)


def write_jpegs(folder: Path, count: int) -> list[str]:
    """Textured images, about as hard to decode as dermatoscopic ones: blotches of several sizes and grain."""
    rng = np.random.default_rng(0)
    names = []
    for i in range(count):
        image = np.full((450, 600, 3), 120, np.float32)
        for scale, weight in ((8, 60), (40, 30), (150, 15)):
            blotches = rng.normal(0, weight, (450 * scale // 450 + 2, 600 * scale // 450 + 2, 3))
            image += cv2.resize(blotches.astype(np.float32), (600, 450), interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, 4, image.shape)
        names.append(f"{i:04d}.jpg")
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / names[-1], quality=92)
    return names


def prepare(folder: Path, names: list[str]) -> np.ndarray:
    images = np.stack([np.asarray(Image.open(folder / name).resize((SIDE, SIDE))) for name in names])
    np.save(folder / "inputs.npy", images)
    return np.load(folder / "inputs.npy", mmap_mode="r")


def generator(folder: Path, names: list[str], **options: object) -> Callable[[], int]:
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    table = pd.DataFrame({"filename": names, "class": [str(i % 7) for i in range(len(names))]})
    flow = ImageDataGenerator(**options).flow_from_dataframe(
        table, folder, target_size=(SIDE, SIDE), batch_size=BATCH, validate_filenames=False
    )

    def epoch() -> int:
        return sum(len(flow[i][0]) for i in range(len(flow)))

    return epoch


def ours(batches: Batches) -> Callable[[], int]:
    cast = np.empty((BATCH, SIDE, SIDE, 3), np.float32)

    def epoch() -> int:
        batches.epoch += 1
        done = 0
        for i in range(len(batches)):
            images = batches[i][0]
            cast[: len(images)] = images
            done += len(images)
        return done

    return epoch


def main(count: int) -> None:
    machine.describe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_jpegs(folder, count)
        started = time.perf_counter()
        inputs = prepare(folder, names)
        print(f"prepare, once: {count / (time.perf_counter() - started):.0f} images/s")
        samples = Samples(inputs, np.eye(7, dtype=np.float32)[np.arange(count) % 7], np.arange(count))

        def batches(augmentation: Augmentation | None, processes: int | None) -> Batches:
            return Batches(samples, BATCH, seed=1, shuffle=True, augmentation=augmentation, processes=processes)

        alike = {
            "horizontal_flip": True, "vertical_flip": True, "rotation_range": 20, "zoom_range": 0.1,
            "width_shift_range": 0.1, "height_shift_range": 0.1, "brightness_range": (0.9, 1.1), "fill_mode": "reflect",
        }  # fmt: skip
        with (
            closing(batches(USUAL, None)) as default,
            closing(batches(USUAL, 0)) as threads,
            closing(batches(USUAL, 1)) as one,
            closing(batches(USUAL, 2)) as two,
            closing(batches(None, 0)) as plain,
        ):
            rows = {
                "ImageDataGenerator": generator(folder, names, **alike),
                "ImageDataGenerator, no augmentation": generator(folder, names),
                "Batches (as used on this machine)": ours(default),
                "Batches, 2 threads": ours(threads),
                "Batches, 1 process": ours(one),
                "Batches, 2 processes": ours(two),
                "Batches, no augmentation": ours(plain),
            }
            rates: dict[str, list[float]] = {row: [] for row in rows}
            for epoch in rows.values():
                epoch()
            for _ in range(ROUNDS):
                for row, epoch in rows.items():
                    started = time.perf_counter()
                    done = epoch()
                    rates[row].append(done / (time.perf_counter() - started))
    base = rates["ImageDataGenerator"]
    print(f"\n| {SIDE} px, {count} images, median of {ROUNDS} rounds | images/s | times the first |\n|---|---|---|")
    for row, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
        print(f"| {row} | {statistics.median(values):.0f} | {ratio:.1f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
