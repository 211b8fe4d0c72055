"""How good heat maps are: pointing game, insertion and deletion, beside chance, on phantoms and on real masks.

    python benchmarks/heat_maps.py [--lgg DIR] [--pictures DIR]

Three questions, each to the pipeline's small convolutional network at 64 px: is there a tag on a chest phantom (the tag
alone tells it, so that is where a map must point), has a slice a tumour in brain phantoms, and in LGG's real slices.
Networks are trained on three quarters of the patients and explained on the rest, four times. Explained are slices with
a tumour, or images with a tag, that the network recognises. Prints the table of docs/explanations.md; `--lgg` is the
folder kaggle_3m, `--pictures` a folder for some maps as PNG.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import machine
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.stats import spearmanr

from medpipe import backend, params
from medpipe.params import BrainPhantom
from medpipe.phantoms import brain, chest_drawing

SIDE, FOLDS, EPOCHS, BATCH, EXPLAINED, STEPS, SEED = 64, 4, 15, 16, 60, 16, 7
MASKS, CELLS, TAG = 512, 7, 6
Method = Callable[[npt.NDArray], npt.NDArray]  # images -> maps


class Task(NamedTuple):
    images: npt.NDArray[np.uint8]  # (n, SIDE, SIDE, 3)
    masks: npt.NDArray[np.bool_]  # (n, SIDE, SIDE), of what tells the second class from the first
    groups: npt.NDArray  # (n,) patients


def tagged() -> Task:
    rng, images, masks = np.random.default_rng(SEED), [], []
    for i in range(600):
        image, mask = np.asarray(chest_drawing.draw(rng, "Normal", i // 2 % 4, SIDE)), np.zeros((SIDE, SIDE), bool)
        if i % 2:
            y, x = rng.integers(0, SIDE - TAG, 2)
            mask[y : y + TAG, x : x + TAG] = True
            image = np.where(mask, np.uint8(235), image)
        images.append(np.repeat(image[:, :, None], 3, 2))
        masks.append(mask)
    return Task(np.stack(images), np.stack(masks), np.arange(len(images)))


def slices(root: Path) -> Task:
    """LGG's files, or a phantom's: a folder a patient, a mask beside each slice."""
    images, masks, groups = [], [], []
    for path in sorted(root.glob("*/*_mask.tif")):
        slice_ = np.asarray(Image.open(path.with_name(path.name.replace("_mask", ""))).convert("RGB"))
        mask = np.asarray(Image.open(path).convert("L")).astype(np.float32) / 255
        images.append(cv2.resize(slice_, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
        masks.append(cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA) >= 0.5)
        groups.append(path.parent.name)
    return Task(np.stack(images), np.stack(masks), np.array(groups))


def phantom() -> Task:
    with tempfile.TemporaryDirectory() as folder:
        brain.write(Path(folder), BrainPhantom(patients=36, slices=16, size=128, seed=SEED))
        return slices(Path(folder) / "kaggle_3m")


def measure(name: str, task: Task, pictures: Path | None) -> None:
    """Prints the rows of one task."""
    from medpipe.explain.faithfulness import blur, deletion, insertion, pointing_game

    found: dict[str, list[list[npt.NDArray]]] = {}
    labels = task.masks.any(axis=(1, 2)).astype(int)
    patients = np.unique(task.groups)
    fold = dict(zip(patients.tolist(), np.random.default_rng(SEED).permutation(len(patients)) % FOLDS, strict=True))
    folds, right, shown = np.array([fold[group] for group in task.groups.tolist()]), [], []
    for number in range(FOLDS):
        train, test = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
        model = trained(task.images[train], labels[train], number)
        said = model.predict(task.images[test].astype(np.float32), batch_size=64, verbose=0)[:, 1]
        right.append((said > 0.5) == labels[test])
        rows = test[(said > 0.5) & (labels[test] == 1)]
        rows = np.sort(np.random.default_rng(SEED).permutation(rows)[: EXPLAINED // FOLDS])
        images, masks, ones = task.images[rows], task.masks[rows], np.ones(len(rows), int)
        predict, blank = forward(model), blur(images, SIDE / 8)
        random = build()
        maps = {key: method(images) for key, method in methods(model, random, predict).items()}
        for key, heat in maps.items():
            scores = (
                pointing_game(heat, masks),
                *(f(predict, images, blank, heat, ones, STEPS) for f in (insertion, deletion)),
            )
            found.setdefault(key, []).append([*scores, task.groups[rows]])
        shown.append([images, masks, maps])
    explained, accuracy = sum(len(images) for images, _, _ in shown), np.concatenate(right).mean()
    print(f"\n{name}: {len(task.images)} images of {len(patients)} patients, accuracy {accuracy:.3f}", end="")
    print(f", {explained} explained\n")
    print("| map | pointing game | insertion | deletion |\n|---|---|---|---|")
    for key, parts in found.items():
        *scores, groups = (np.concatenate(values) for values in zip(*parts, strict=True))
        print(f"| {key} | {' | '.join(with_error(values, groups) for values in scores)} |")
    for key in ("Grad-CAM", "Grad-CAM++"):
        alike = [
            spearmanr(a.ravel(), b.ravel()).statistic
            for _, _, maps in shown
            for a, b in zip(maps[key], maps[f"{key}, weights at random"], strict=True)
            if a.any() and b.any()
        ]
        print(f"\n{key}: rank correlation with the map of weights at random {np.mean(alike):.2f}", flush=True)
    if pictures:
        draw(pictures / f"{name.replace(' ', '_')}.png", shown)


def build():
    from medpipe.models.build import build

    recipe = params.load(Path(__file__).parents[1]).models["chest-convnet"]
    network = recipe.network.model_copy(update={"filters": (16, 32, 64), "units": 32})
    return build(recipe.model_copy(update={"network": network}), (SIDE, SIDE, 3), 2, {})


def trained(images: npt.NDArray, labels: npt.NDArray, number: int):
    import keras

    backend.reset(SEED + number, "float32")
    model = build()
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * (len(images) // BATCH))
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
    share = labels.mean()
    model.fit(images.astype(np.float32), labels, batch_size=BATCH, epochs=EPOCHS, verbose=0,
              class_weight={0: 0.5 / (1 - share), 1: 0.5 / share})  # fmt: skip
    return model


def forward(model) -> Callable[[npt.NDArray], npt.NDArray]:
    return lambda batch: model.predict_on_batch(batch.astype(np.float32))


def methods(model, random, predict) -> dict[str, Method]:
    from medpipe.explain.cam import grad_cam, grad_cam_plus_plus
    from medpipe.explain.rise import draw as drawn
    from medpipe.explain.rise import rise

    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]

    def chance(images: npt.NDArray) -> npt.NDArray:
        return np.concatenate(list(drawn((SIDE, SIDE), len(images), CELLS, SEED)))

    def of(cam: Callable, network) -> Method:
        return lambda images: cam(network, [images], [1] * len(images))

    return {
        "Grad-CAM": of(grad_cam, model),
        "Grad-CAM++": of(grad_cam_plus_plus, model),
        f"RISE, {MASKS} masks": lambda images: rise(predict, images, [1] * len(images), MASKS, CELLS, SEED),
        "Grad-CAM, weights at random": of(grad_cam, random),
        "Grad-CAM++, weights at random": of(grad_cam_plus_plus, random),
        "brightness": lambda images: images.mean(axis=3) / 255,
        "the image's middle": lambda images: np.repeat(np.exp(-(y**2 + x**2))[None], len(images), 0),
        "chance": chance,
    }


def with_error(values: npt.NDArray, groups: npt.NDArray) -> str:
    """The mean, and its standard error by resampling patients."""
    rng, parts = np.random.default_rng(SEED), [values[groups == group] for group in np.unique(groups)]
    draws = [np.concatenate([parts[i] for i in rng.integers(len(parts), size=len(parts))]).mean() for _ in range(500)]
    return f"{values.mean():.3f} ± {np.std(draws):.3f}"


def draw(path: Path, shown: list) -> None:
    """A row an image: itself, its mask, the maps over it."""
    from medpipe.explain.maps import overlay

    rows = []
    for images, masks, maps in shown:
        for i in range(min(2, len(images))):
            cells = [images[i], np.repeat(np.where(masks[i], np.uint8(255), np.uint8(0))[:, :, None], 3, 2)]
            cells += [overlay(images[i], np.asarray(heat[i], np.float64)) for heat in maps.values()]
            rows.append(np.hstack([np.asarray(Image.fromarray(cell).resize((160, 160))) for cell in cells]))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("lgg", "pictures"):
        parser.add_argument(f"--{option}", type=Path)
    arguments = parser.parse_args()
    machine.describe()
    backend.start(SEED, "float32")
    tasks: dict[str, Callable[[], Task]] = {"chest phantoms with a tag": tagged, "brain phantoms": phantom}
    if arguments.lgg:
        tasks["LGG"] = lambda: slices(arguments.lgg)
    for name, task in tasks.items():
        start, used = time.perf_counter(), time.process_time()
        measure(name, task(), arguments.pictures)
        print(f"\n{time.perf_counter() - start:.0f} s, {time.process_time() - used:.0f} s of processors", flush=True)


if __name__ == "__main__":
    main()
