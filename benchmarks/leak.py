"""What a split by image is worth on HAM10000: the same test images, once with their lesion's photographs in training.

    python benchmarks/leak.py --data DIR --weights FILE

`--data` holds HAM10000 as downloaded, `--weights` ImageNet's of MobileNet 0.75 (mobilenet_0.75_224_notop.weights.h5).
Two five-fold cross-validations, alike in all but what stays together, lesions or nothing, so that each image is a test
image once under either, of a model that trained on four fifths. The model is a logistic regression on the backbone's
frozen features; beside it stands the nearest neighbour by their cosine, which learns by heart. Differences are paired,
with intervals over lesions; those of lesions that have one photograph are a control, which can leak nothing.
"""

import argparse
from pathlib import Path

import cv2
import machine
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from medpipe.evaluation.intervals import Estimates, Resamples, counted, paired_difference, resampled_confusion
from medpipe.evaluation.predictions import Predictions

SIDE, FOLDS, RESAMPLES, CONFIDENCE, SEED = 96, 5, 1000, 0.95, 42
METRICS = ("macro_f1", "balanced_accuracy", "accuracy")
MODELS = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=100)),
    "nearest neighbour": lambda: make_pipeline(Normalizer(), KNeighborsClassifier(1)),
}


def features(paths: list[Path], weights: Path) -> npt.NDArray[np.float32]:
    import keras

    inputs = keras.Input((SIDE, SIDE, 3))
    backbone = keras.applications.MobileNet(
        alpha=0.75, include_top=False, weights=str(weights), pooling="avg", input_tensor=inputs
    )
    found = []
    for start in range(0, len(paths), 256):
        images = [cv2.imread(str(path))[..., ::-1] for path in paths[start : start + 256]]
        batch = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])
        found.append(backbone.predict(batch / np.float32(127.5) - 1, verbose=0, batch_size=64))
    return np.concatenate(found)


def estimates(truth: npt.NDArray[np.int64], said: npt.NDArray[np.int64], groups: npt.NDArray, k: int) -> Estimates:
    p = Predictions(tuple(map(str, range(k))), groups, truth, said, np.eye(k)[said])
    resamples = Resamples(groups, RESAMPLES, SEED)
    draws, _ = counted(resampled_confusion(p, resamples, resamples.weights))
    ones = np.ones((1, len(resamples.names)))
    values = {name: float(value[0]) for name, value in counted(resampled_confusion(p, resamples, ones))[0].items()}
    return Estimates(len(truth), tuple(resamples.names.tolist()), values, draws)


def main(data: Path, weights: Path) -> None:
    machine.describe()
    table = pd.read_csv(data / "HAM10000_metadata.csv")
    files = {path.stem: path for path in data.glob("HAM10000_images_part_*/*.jpg")}
    x = features([files[name] for name in table["image_id"]], weights)
    classes, truth = np.unique(table["dx"], return_inverse=True)
    lesion = table["lesion_id"].to_numpy()
    several = table.groupby("lesion_id")["image_id"].transform("count").to_numpy() > 1
    rows = {"all": np.ones(len(x), bool), "of lesions with several": several, "of lesions with one": ~several}
    print("\n| model | test images | metric | by image | by lesion | the leak |\n|---|---|---|---|---|---|")
    for name, make in MODELS.items():
        said = {}
        for split, groups in (("image", table["image_id"].to_numpy()), ("lesion", lesion)):
            told = said[split] = np.empty_like(truth)
            folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
            for train, test in folds.split(x, truth, groups):
                told[test] = make().fit(x[train], truth[train]).predict(x[test])
        for which, some in rows.items():
            found = {
                split: estimates(truth[some], told[some], lesion[some], len(classes)) for split, told in said.items()
            }
            for metric in METRICS:
                apart = paired_difference(found["image"], found["lesion"], metric, CONFIDENCE)
                values = " | ".join(f"{found[split].values[metric]:.3f}" for split in said)
                leak = f"{apart['difference']:+.3f} [{apart['low']:+.3f}, {apart['high']:+.3f}]"
                print(f"| {name} | {some.sum()} {which} | {metric} | {values} | {leak} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    arguments = parser.parse_args()
    main(arguments.data, arguments.weights)
